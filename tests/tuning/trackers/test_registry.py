"""Trackers are named, found or reported as missing without being loaded."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from advisor.errors import InputError
from advisor.tuning.trackers import registry
from advisor.tuning.trackers.registry import TRACKERS, check_trackers, is_installed, viewing_command

ROOT = Path(__file__).parents[3]


def test_an_unknown_tracker_is_refused_with_the_names_that_there_are():
    with pytest.raises(InputError, match="--track: comet is not one of mlflow, tensorboard, wandb, trackio"):
        check_trackers(["comet"])


@pytest.mark.parametrize("name", list(TRACKERS))
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda package: None)
    with pytest.raises(InputError) as caught:
        check_trackers([name])
    assert str(caught.value) == f"--track {name}: {name} is not installed; pip install 'peft-advisor[{name}]'"


def test_a_folder_with_the_name_of_a_package_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "nosuchtracker").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not is_installed("nosuchtracker")
    (tmp_path / "nosuchtracker" / "__init__.py").touch()
    assert is_installed("nosuchtracker")


def test_checking_loads_no_tracker():
    code = (
        "import sys; from advisor.errors import InputError; from advisor.tuning.trackers.registry import *\n"
        "for name in TRACKERS:\n"
        "    try: check_trackers([name])\n"
        "    except InputError: pass\n"
        "print([name for name in ('mlflow', 'tensorboard', 'wandb', 'trackio', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [*TRACKERS, "dashboard"])
def test_every_extra_that_a_message_names_exists(name):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert name in extras


def test_what_shows_a_tracked_study_is_said_where_there_is_something(tmp_path):
    folder = tmp_path / "a run"
    (folder / "tensorboard").mkdir(parents=True)
    assert viewing_command("tensorboard", folder) == f"tensorboard --logdir '{folder}'/tensorboard"
    assert viewing_command("wandb", folder) is None
