"""Several workers for one study: how many, on which devices, and that a study with them is one like any other."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.errors import InputError
from advisor.search.events import RungReached
from advisor.spec import GIB
from advisor.tuning import TuningRequest, prepare
from advisor.tuning import workers as workers_module
from advisor.tuning.events import Planned
from advisor.tuning.workers import devices_of
from advisor.workers.process import ProcessWorker
from tests.tuning.test_study_run import inputs as inputs  # a fixture
from tests.tuning.test_study_run import request


@dataclass
class On:
    """Stands for a runner: only the kind of its device is asked for."""

    device_type: str


def asking(workers: int | None, **changes: object) -> TuningRequest:
    return TuningRequest(train=Path("t.csv"), valid=None, test=None, split="80/10/10", task="clone-detection",
                         workers=workers, **changes)  # type: ignore[arg-type]  # fmt: skip


def test_every_gpu_has_a_worker_and_there_are_no_more(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert devices_of(asking(None), On("cuda"), None) == ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    assert devices_of(asking(2), On("cuda"), None) == ("cuda:0", "cuda:1")
    assert devices_of(asking(1, device="cuda:3"), On("cuda"), None) == ("cuda:3",)
    with pytest.raises(InputError, match="--workers 5: there is a worker for each GPU, and this machine has 4"):
        devices_of(asking(5), On("cuda"), None)


def test_apples_gpu_is_one_device():
    assert devices_of(asking(None), On("mps"), None) == ("mps",)
    with pytest.raises(InputError, match="one device"):
        devices_of(asking(2), On("mps"), None)


def test_on_the_processor_cores_and_free_memory_bound_the_workers(monkeypatch):
    monkeypatch.setattr(workers_module, "usable_cores", lambda: 6)
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 20 * GIB // 4096)
    assert devices_of(asking(None), On("cpu"), None) == ("cpu",) * 6
    # 80 % of 20 GiB has room for five processes of 2 GiB and one each for PyTorch.
    assert devices_of(asking(None), On("cpu"), 2 * GIB) == ("cpu",) * 5
    assert devices_of(asking(None), On("cpu"), 100 * GIB) == ("cpu",)
    assert devices_of(asking(3), On("cpu"), 100 * GIB) == ("cpu",) * 3
    with pytest.raises(InputError, match="6 cores"):
        devices_of(asking(7), On("cpu"), None)


def test_gpu_hours_are_of_all_workers_together():
    assert asking(4, gpu_hours=2.0).limit_s == 1800
    assert asking(1, gpu_hours=2.0).limit_s == 7200


def test_workers_and_one_gpu_exclude_each_other():
    with pytest.raises(InputError, match="exclude each other"):
        asking(2, device="cuda:1")
    asking(2, device="cpu")
    with pytest.raises(InputError, match="--workers: 0"):
        asking(0)


@pytest.mark.slow
def test_a_study_of_two_workers_ends_whole_although_one_is_killed(inputs, tmp_path, monkeypatch):
    made: list[ProcessWorker] = []

    class Watched(ProcessWorker):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr("advisor.workers.process.ProcessWorker", Watched)
    monkeypatch.setattr(workers_module, "usable_cores", lambda: 2)
    events: list[object] = []

    def on_event(event: object) -> None:
        events.append(event)
        if isinstance(event, RungReached) and sum(isinstance(one, RungReached) for one in events) == 2:
            os.kill(made[0].pid, signal.SIGKILL)

    folder = tmp_path / "study"
    result = prepare(request(inputs, folder, workers=2, n_trials=4, max_steps=8)).finish(on_event)
    assert next(event for event in events if isinstance(event, Planned)).devices == ("cpu", "cpu")
    records = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    assert sorted(record["number"] for record in records) == [0, 1, 2, 3]
    assert not [record for record in records if record["state"] == "failed"]
    assert all(
        [report["rung"] for report in record["reports"]] == list(range(len(record["reports"]))) for record in records
    )
    assert result.reload_check.passed
    assert [one.n_lost for one in result.workers] == [0, 1]
    assert all(one.n_trials for one in result.workers)
    assert "2 workers shared search and finals" in (folder / "report.md").read_text()
    assert (folder / "workers" / "2.log").is_file()
