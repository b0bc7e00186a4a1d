"""What the plan says before the first step; the rest of it is looked at in `test_tune_view`."""

import shlex
from dataclasses import replace

import pytest

from advisor.cli.tune_plan import plan_facts
from advisor.cli.worker import command
from tests.cli.test_tune_view import PLANNED, shown

URL = "postgresql+psycopg://me@db:5433/studies"
SHARED = replace(PLANNED, study="clones", storage=URL)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_study_in_a_database_says_how_another_machine_joins_it(terminal):
    line = f"Join with   peft-advisor worker --storage {URL} --study clones\n"
    assert line in shown(SHARED, terminal=terminal).replace("\r", "")


def test_a_study_in_its_folder_has_nothing_to_join():
    assert "Join with" not in dict(plan_facts(PLANNED))


def test_a_url_from_the_environment_is_not_repeated():
    joining = dict(plan_facts(replace(SHARED, storage="")))["Join with"]
    assert joining == "PEFT_ADVISOR_STORAGE set as here: peft-advisor worker --study clones"


@pytest.mark.parametrize("study", ["clones", "two words", "it's $(reboot); `id`", "-x", "--wait"])
def test_the_command_is_one_that_a_shell_hands_to_worker_as_it_is_meant(study):
    url = f"{URL}?sslmode=require&options=-c%20x%3D1"
    joining = dict(plan_facts(replace(SHARED, study=study, storage=url)))["Join with"]
    program, name, *options = shlex.split(joining)
    assert (program, name) == ("peft-advisor", command.name)
    given = command.make_context(name, options).params
    assert (given["storage"], given["study"]) == (url, study)
