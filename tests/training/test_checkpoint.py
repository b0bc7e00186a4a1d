"""A training goes on from a checkpoint as if it had never stopped, and from nothing else."""

import errno
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from advisor import durable
from advisor.errors import DataError
from advisor.spec import Architecture
from advisor.training.checkpoint import NUMBERS, TENSORS, read_checkpoint, write_checkpoint
from advisor.training.runner import DeviceRunner
from advisor.trial import RungReport, TrialSpec
from tests.training.toy import TASKS, candidate, splits

pytestmark = pytest.mark.slow  # together more than the fast part can take

BaseFolder = Callable[..., Path]
RUNGS = (3, 6)


def runner_of(task: str = "clone-detection") -> DeviceRunner:
    return DeviceRunner(TASKS[task], splits(TASKS[task]), seed=7, device="cpu")


def spec(
    base_folder: BaseFolder, method: str = "lora", architecture: Architecture = "encoder-only", **changes: object
) -> TrialSpec:
    if method == "lora":
        changes = {"lora_dropout": 0.3, **changes}
    chosen = candidate(base_folder(architecture), architecture, method, **changes)  # type: ignore[arg-type]
    return TrialSpec(number=4, candidate=chosen, seed=3, rung_steps=RUNGS)


@pytest.fixture(scope="module")
def checkpoint(base_folder: BaseFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of `spec(base_folder)` at its first rung."""
    runner = runner_of()
    runner.start(spec(base_folder))
    runner.advance()
    runner.checkpoint(4, folder := tmp_path_factory.mktemp("checkpoint") / "3")
    return folder


def copied(checkpoint: Path, to: Path) -> Path:
    to.mkdir()
    for path in checkpoint.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def shown(report: RungReport) -> tuple[object, ...]:
    return report.rung, report.step, dict(report.metrics), report.train_loss, report.micro_batch_size, report.failure


@pytest.mark.parametrize(
    ("method", "architecture", "task"),
    [
        ("lora", "encoder-only", "clone-detection"),
        ("ia3", "decoder-only", "clone-detection"),
        ("prefix-tuning", "decoder-only", "code-summarization"),
        ("full", "encoder-only", "clone-detection"),
    ],
)
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_training_that_goes_on_in_another_runner_ends_bit_for_bit_as_one_that_never_stopped(
    base_folder: BaseFolder, tmp_path: Path, method: str, architecture: Architecture, task: str, schedule: str
) -> None:
    trial = spec(base_folder, method, architecture, lr_scheduler_type=schedule, warmup_ratio=0.2)
    whole = runner_of(task)
    whole.start(trial)
    whole.advance()
    (expected,) = whole.advance()
    whole.save(4, tmp_path / "whole")

    first, second = runner_of(task), runner_of(task)
    first.start(trial)
    first.advance()
    first.checkpoint(4, tmp_path / "live" / "3")
    second.start(trial, checkpoint=tmp_path / "live" / "3")
    (report,) = second.advance()
    second.save(4, tmp_path / "resumed")
    assert expected.failure is None
    assert shown(report) == shown(expected)
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_writing_a_checkpoint_leaves_no_trace_in_the_training(base_folder: BaseFolder, tmp_path: Path) -> None:
    reports = []
    for writes in (False, True):
        runner = runner_of()
        runner.start(spec(base_folder))
        runner.advance()
        if writes:
            runner.checkpoint(4, tmp_path / "3")
        reports.append(runner.advance()[0])
    assert shown(reports[0]) == shown(reports[1])


def test_a_trial_at_its_last_rung_can_be_picked_up_and_saved(base_folder: BaseFolder, tmp_path: Path) -> None:
    first, second = runner_of(), runner_of()
    first.start(spec(base_folder))
    first.advance()
    first.advance()
    first.save(4, tmp_path / "adapter")
    first.checkpoint(4, tmp_path / "6")
    second.start(spec(base_folder), checkpoint=tmp_path / "6")
    second.save(4, tmp_path / "again")
    second.stop(4)
    name = "adapter_model.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "adapter" / name).read_bytes()


def test_the_folder_holds_tensors_and_json_and_no_unfinished_files(checkpoint: Path) -> None:
    assert {path.name for path in checkpoint.iterdir()} == {TENSORS, NUMBERS}
    assert [path.name for path in checkpoint.parent.iterdir()] == ["3"]
    assert json.loads((checkpoint / NUMBERS).read_text())["training"]["step"] == 3
    assert {name.split(".")[0] for name in load_file(checkpoint / TENSORS)} == {"parameters", "optimizer", "random"}


def cut(folder: Path, name: str, size: int) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: size if size >= 0 else len(content) + size])


def flip(folder: Path) -> None:
    content = bytearray((folder / TENSORS).read_bytes())
    content[-5] ^= 1
    (folder / TENSORS).write_bytes(content)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no files": empty,
    "no tensors": lambda folder: (folder / TENSORS).unlink(),
    "no numbers": lambda folder: (folder / NUMBERS).unlink(),
    "half the numbers": lambda folder: cut(folder, NUMBERS, 100),
    "no content": lambda folder: cut(folder, NUMBERS, 0),
    "half the tensors": lambda folder: cut(folder, TENSORS, -1000),
    "one bit of the tensors": flip,
    "not an object": lambda folder: (folder / NUMBERS).write_text("[1]"),
    "not text": lambda folder: (folder / NUMBERS).write_bytes(b"\xff\xfe"),
    "deep": lambda folder: (folder / NUMBERS).write_text("[" * 100_000),
    "an unknown version": lambda folder: (folder / NUMBERS).write_text('{"schema_version": 99}'),
    "no numbers of the caller": lambda folder: (folder / NUMBERS).write_text(
        (folder / NUMBERS).read_text().replace('"extra"', '"other"')
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_one_line_and_leaves_the_slot_free(
    base_folder: BaseFolder, checkpoint: Path, tmp_path: Path, damage: str
) -> None:
    DAMAGES[damage](folder := copied(checkpoint, tmp_path / "3"))
    runner = runner_of()
    with pytest.raises(DataError, match="not a checkpoint of this trial") as caught:
        runner.start(spec(base_folder), checkpoint=folder)
    assert "\n" not in str(caught.value)
    runner.start(spec(base_folder))
    assert runner.advance()[0].failure is None


@pytest.mark.parametrize(("method", "changes"), [("ia3", {}), ("lora", {"r": 2})])
def test_the_checkpoint_of_another_trial_is_refused(
    base_folder: BaseFolder, checkpoint: Path, method: str, changes: dict[str, object]
) -> None:
    with pytest.raises(DataError, match="not a checkpoint of this trial"):
        runner_of().start(spec(base_folder, method, **changes), checkpoint=checkpoint)


class Fixed:
    """A training with fixed tensors."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self._tensors = tensors
        self.restored: dict[str, torch.Tensor] = {}

    def tensors(self) -> dict[str, torch.Tensor]:
        return self._tensors

    def numbers(self) -> dict[str, object]:
        return {"step": 1, "rate": 1 / 3}

    def restore(self, tensors: dict[str, torch.Tensor], numbers: dict[str, object]) -> None:
        assert numbers == self.numbers()
        self.restored = tensors


def test_tensors_of_any_layout_come_back_as_they_were(tmp_path: Path) -> None:
    shared = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "shared": shared, "view": shared[1], "transposed": shared.T, "scalar": torch.tensor(5.0),
        "bytes": torch.arange(7, dtype=torch.uint8), "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 3),
    }  # fmt: skip
    training = Fixed(tensors)
    write_checkpoint(training, tmp_path / "1", rung=2)  # type: ignore[arg-type]
    assert read_checkpoint(training, tmp_path / "1") == {"rung": 2}  # type: ignore[arg-type]
    assert training.restored.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert training.restored[name].dtype == tensor.dtype
        assert torch.equal(training.restored[name], tensor)


def test_a_disk_that_refuses_leaves_the_old_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (Fixed({"a": torch.full((3,), value)}) for value in (1.0, 2.0))
    write_checkpoint(old, tmp_path / "1")  # type: ignore[arg-type]

    def full(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(new, tmp_path / "1")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    read_checkpoint(old, tmp_path / "1")  # type: ignore[arg-type]
    assert torch.equal(old.restored["a"], torch.ones(3))
    save_file({"a": torch.ones(1)}, tmp_path / "1" / TENSORS)
    with pytest.raises(DataError, match="has changed"):
        read_checkpoint(old, tmp_path / "1")  # type: ignore[arg-type]


def test_a_disk_that_is_really_full_is_an_ordinary_error_of_the_system(tmp_path: Path) -> None:
    (disk := tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        training = Fixed({"a": torch.zeros(100_000)})
        with pytest.raises(OSError, match="No space left on device"):
            write_checkpoint(training, disk / "4" / "1")  # type: ignore[arg-type]
        assert list((disk / "4").iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
