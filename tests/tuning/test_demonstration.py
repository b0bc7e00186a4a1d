"""The demonstration knows its sizes, brings its own data, and writes nothing when it is asked for the wrong thing."""

from dataclasses import replace

import pytest

from advisor.catalog.tasks import find_task
from advisor.demo import TASKS
from advisor.errors import InputError, UnknownNameError
from advisor.tuning.demonstration import DEFAULT_TASK, SIZES, Demonstration
from advisor.tuning.request import TuningRequest

pytestmark = pytest.mark.slow


def request_for(demonstration: Demonstration, **changes: object) -> TuningRequest:
    return TuningRequest(
        task=demonstration.task,
        base_model=demonstration.base_model,
        output=demonstration.folder,
        **demonstration.files,
        **changes,
    )


def test_every_task_with_demonstration_data_is_one_of_the_catalogue_and_has_a_size():
    assert set(SIZES) == set(TASKS)
    assert DEFAULT_TASK in SIZES
    for task, size in SIZES.items():
        assert find_task(task)
        assert list(size.n_examples) == ["train", "valid", "test"]
        # The five minutes hold imports and the report too.
        assert size.time_limit_s <= 240


def test_data_are_made_once_and_of_the_wanted_size(tmp_path):
    demonstration = Demonstration.of(None, tmp_path / "run", {})
    small = replace(demonstration.size, n_examples={"train": 20, "valid": 6, "test": 8})
    demonstration = replace(demonstration, size=small)
    demonstration.write_data(request_for(demonstration))
    lines = {split: path.read_text().count("\n") for split, path in demonstration.files.items()}
    assert lines == {"train": 20, "valid": 6, "test": 8}
    demonstration.files["train"].write_text("")
    demonstration.write_data(request_for(demonstration))
    assert demonstration.files["train"].read_text() == ""


def test_a_mistake_in_the_request_is_found_before_data_are_made(tmp_path):
    demonstration = Demonstration.of(None, tmp_path / "run", {})
    with pytest.raises(UnknownNameError, match="unknown method 'lara'"):
        demonstration.write_data(request_for(demonstration, methods=("lara",)))
    assert list(tmp_path.iterdir()) == []


def test_own_data_and_a_demonstration_exclude_each_other(tmp_path):
    with pytest.raises(InputError, match="--demo and --train exclude each other"):
        Demonstration.of(None, tmp_path / "run", {"--model": None, "--train": tmp_path})


def test_a_task_without_demonstration_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="known: clone-detection, code-summarization"):
        Demonstration.of("log-parsing", tmp_path / "run", {})
