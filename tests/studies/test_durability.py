"""The study of kills counts what it says it counts."""

import os
import signal
import time
from pathlib import Path

import pytest

from studies.durability.run import differences, has_unfinished, wait, whole_lines


def test_trials_that_differ_are_named_with_their_fields():
    ours = {"number": 3, "value": 0.5, "losses": [1.0]}
    assert differences([ours], [dict(ours)]) == []
    assert differences([ours, ours], [ours, {**ours, "value": 0.4, "losses": [2.0]}]) == ["trial 3: value, losses"]


def test_a_cut_line_is_no_finished_trial_but_an_unfinished_write(tmp_path):
    assert whole_lines(tmp_path) == []
    assert not has_unfinished(tmp_path)
    (tmp_path / "trials.jsonl").write_bytes(b"one\ntwo\nthr")
    assert whole_lines(tmp_path) == [b"one", b"two"]
    assert has_unfinished(tmp_path)


@pytest.mark.parametrize("name", ["live/3/2.part", "study.db-journal"])
def test_what_a_kill_leaves_half_made_is_seen(tmp_path: Path, name: str):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert has_unfinished(tmp_path)


def forked(seconds: float, code: int) -> int:
    child = os.fork()
    if child == 0:
        time.sleep(seconds)
        os._exit(code)
    return child


def test_a_process_is_killed_when_its_time_is_over_and_only_then():
    assert wait(forked(60, 0), 0.05)
    assert not wait(forked(0, 0), 60)
    assert not wait(forked(0, 0), None)


def test_a_study_that_fails_by_itself_is_no_kill():
    with pytest.raises(RuntimeError, match="the study failed"):
        wait(forked(0, 1), None)
    child = forked(60, 0)
    os.kill(child, signal.SIGTERM)
    with pytest.raises(RuntimeError, match="the study failed"):
        wait(child, 60)
