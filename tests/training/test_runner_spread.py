"""Trials on a base model that is spread over devices: with the host as both, the numbers are those of one device."""

from collections.abc import Callable
from pathlib import Path

import pytest

from advisor.spec import Architecture
from advisor.training.reload import reload_check
from advisor.training.runner import DeviceRunner
from advisor.trial import TrialSpec
from tests.training.toy import TASKS, candidate, splits

pytestmark = pytest.mark.slow

BaseFolder = Callable[..., Path]


@pytest.mark.parametrize(
    ("task", "architecture"),
    [("clone-detection", "encoder-only"), ("code-summarization", "decoder-only"),
     ("code-summarization", "encoder-decoder")],
)  # fmt: skip
def test_packed_trials_checkpoints_and_predictions_are_those_of_one_device(
    task: str, architecture: Architecture, base_folder: BaseFolder, tmp_path: Path
) -> None:
    chosen = candidate(base_folder(architecture), architecture)
    found = []
    for device in ("cpu", "cpu,cpu"):
        folder = tmp_path / str(len(found))
        runner = DeviceRunner(TASKS[task], splits(TASKS[task]), seed=7, device=device, slots=2)
        specs = [TrialSpec(number=number, candidate=chosen, seed=3 + number, rung_steps=(2, 4)) for number in (0, 1)]
        for spec in specs:
            runner.start(spec)
        reports = list(runner.advance())
        runner.checkpoint(0, folder / "checkpoint")
        reports += runner.advance()
        inference = runner.measure_inference(0)
        runner.save(0, folder / "adapter")
        runner.stop(0)
        runner.stop(1)
        evaluated = runner.evaluate(chosen, folder / "adapter", "valid", seed=0)
        runner.start(specs[0], checkpoint=folder / "checkpoint")
        again = runner.advance()
        assert inference is not None
        found.append((
            [(one.number, one.rung, one.train_loss, one.metrics) for one in (*reports, *again)],
            (inference.computation, inference.memory_bytes, evaluated.metrics),
        ))  # fmt: skip
    assert runner.device == "cpu, cpu"
    assert runner.data.base_model(chosen).request.layers_per_device != ()
    assert found[0] == found[1]


def test_a_fresh_process_loads_the_adapter_on_the_spread_model(base_folder: BaseFolder, tmp_path: Path) -> None:
    chosen = candidate(base_folder("decoder-only"), "decoder-only")
    task = TASKS["code-summarization"]
    runner = DeviceRunner(task, splits(task), seed=7, device="cpu,cpu")
    runner.start(TrialSpec(number=0, candidate=chosen, seed=3, rung_steps=(2,)))
    (report,) = runner.advance()
    runner.save(0, tmp_path / "adapter")
    runner.stop(0)
    check = reload_check(runner, task, chosen, tmp_path / "adapter", expected=report.metrics, split="valid")
    assert check.passed
