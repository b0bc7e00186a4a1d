"""A study packs as many trials as pays, by measurement, and keeps to it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from advisor import records
from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import find_task
from advisor.dryrun.api import estimate as dry_run
from advisor.feasibility import Estimate
from advisor.feasibility.memory import Step
from advisor.result import Packing, Probe
from advisor.spec import GIB
from advisor.training.packing.choice import best_pack, pack_sizes
from advisor.trial import PackMeasurement
from advisor.tuning.events import PackingChosen, StageStarted
from advisor.tuning.packing import FILE_NAME, find_packing, pack_bytes
from advisor.tuning.probe import CorrectedEstimates, estimator_for
from tests.report import fixtures
from tests.search.fakes import candidate

CLONES = find_task("clone-detection")


def measured(*durations_s: float) -> tuple[PackMeasurement, ...]:
    return tuple(PackMeasurement(size=2**place, duration_s=value) for place, value in enumerate(durations_s))


@dataclass(slots=True)
class Stopwatch:
    """A runner with known times."""

    times: tuple[PackMeasurement, ...]
    device: str = "cuda (NVIDIA L4)"
    asked: list[int] = field(default_factory=list)

    def measure_packs(self, candidate: Candidate, at_most: int) -> tuple[PackMeasurement, ...]:
        self.asked.append(at_most)
        return self.times


def find(
    folder: Path,
    runner: Stopwatch,
    asked: int | None = None,
    n_trials: int = 20,
    estimates: CorrectedEstimates | None = None,
) -> Packing:
    folder.mkdir(exist_ok=True)
    told: list[StageStarted | PackingChosen] = []
    found = find_packing(
        folder, runner, candidate(), asked=asked, n_trials=n_trials, estimates=estimates, on_event=told.append
    )
    assert told[-1] == PackingChosen(packing=found)
    return found


@pytest.mark.parametrize(
    ("durations_s", "size"),
    [
        ((), 1),
        ((1.0,), 1),
        ((1.0, 2.0), 1),
        ((1.0, 1.9), 1),  # five per cent are not worth less informed trials
        ((1.0, 1.1), 2),
        ((1.0, 1.1, 1.2, 1.4), 8),
        ((1.0, 1.1, 1.2, 2.3), 4),
    ],
)
def test_the_size_with_least_time_per_trial_is_chosen(durations_s: tuple[float, ...], size: int) -> None:
    assert best_pack(measured(*durations_s)) == size


@pytest.mark.parametrize(("at_most", "sizes"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])])
def test_sizes_double_up_to_the_limit(at_most: int, sizes: list[int]) -> None:
    assert list(pack_sizes(at_most)) == sizes


def test_a_continued_study_packs_as_it_began(tmp_path: Path) -> None:
    first = find(tmp_path, Stopwatch(measured(1.0, 1.1)))
    runner = Stopwatch(measured(1.0, 2.0))
    assert find(tmp_path, runner) == first
    assert (first.size, runner.asked) == (2, [])


def test_on_another_device_it_is_measured_anew(tmp_path: Path) -> None:
    find(tmp_path, Stopwatch(measured(1.0, 1.1)))
    assert find(tmp_path, Stopwatch(measured(1.0, 2.0), device="cpu")).size == 1


def test_what_the_user_says_is_not_measured(tmp_path: Path) -> None:
    runner = Stopwatch(measured(1.0, 1.1))
    assert find(tmp_path, runner, asked=5).size == 5
    assert find(tmp_path, runner, asked=1).reason == "packing off, as asked"
    assert runner.asked == []


def test_a_pack_is_never_larger_than_the_study(tmp_path: Path) -> None:
    runner = Stopwatch(measured(1.0))
    find(tmp_path, runner, n_trials=3)
    assert runner.asked == [3]


def test_the_reason_is_said_with_its_figures(tmp_path: Path) -> None:
    full = find(tmp_path / "a", Stopwatch(measured(1.0, 2.0)))
    assert full.reason == (
        "packing off: device already full (a step of two together takes 2.0 times as long as of one)"
    )
    gained = find(tmp_path / "b", Stopwatch(measured(1.0, 1.0)))
    assert gained.reason == "2 trials in a pack: 2.0 times as many steps a second as one by one"
    assert "room for one trial" in find(tmp_path / "c", Stopwatch(measured(1.0))).reason
    assert "cannot share passes" in find(tmp_path / "d", Stopwatch(())).reason


def linear(candidate: Candidate, step: Step) -> Estimate:
    """Two GiB of weights, 1/4 GiB per example; adapter, gradients and moments of 1/8, 1/8 and 1/4 GiB."""
    return replace(
        fixtures.estimate(),
        peak_reserved_bytes=2 * GIB + step.batch_size * GIB // 4 + GIB // 2,
        adapter_bytes=GIB // 8,
        gradients_bytes=GIB // 8,
        optimizer_bytes=GIB // 4,
        basis="stored dry runs",
    )


def estimates_for(available_gib: float, *, measured_gib: float = 3.5) -> CorrectedEstimates:
    """A probe of four examples, estimated at 3.5 GiB."""
    probe = Probe(
        candidate=candidate(), device="cuda (NVIDIA L4)", basis="stored dry runs", micro_batch_size=4,
        source_tokens=200, target_tokens=0, estimated_memory_bytes=round(3.5 * GIB),
        measured_memory_bytes=round(measured_gib * GIB), available_bytes=round(available_gib * GIB),
        estimated_step_s=None, measured_step_s=0.25,
    )  # fmt: skip
    return CorrectedEstimates(probe=probe, task=CLONES, estimate=linear)


def test_a_pack_has_one_base_model_the_rows_of_all_and_an_adapter_for_each():
    step = Step(batch_size=4, source_tokens=200)
    alone, three = linear(candidate(), step), linear(candidate(), replace(step, batch_size=12))
    assert pack_bytes(alone, alone, 1) == 3.5 * GIB
    # 2 of weights, 3 of activations, 3 x 0.5 of adapters with their gradients and moments, 3 x 0.25 of copies.
    assert pack_bytes(alone, three, 3) == 7.25 * GIB


@pytest.mark.parametrize(
    ("available_gib", "measured_gib", "bound"),
    [
        # 85 % are used; a pack of K is estimated to take 2 + K + K / 2 + K / 4 GiB.
        (7.25 / 0.85 + 0.01, 3.5, 3),
        (7.25 / 0.85 - 0.01, 3.5, 2),
        (2 * 7.25 / 0.85 + 0.01, 7.0, 3),  # measured twice what was estimated, and so is the pack taken for
        (2 * 7.25 / 0.85 - 0.01, 7.0, 2),
        (1.0, 3.5, 1),
        (80.0, 3.5, 16),
    ],
)
def test_no_pack_is_measured_that_does_not_fit_by_the_corrected_estimate(
    available_gib: float, measured_gib: float, bound: int, tmp_path: Path
) -> None:
    runner = Stopwatch(measured(1.0, 1.1))
    found = find(tmp_path, runner, estimates=estimates_for(available_gib, measured_gib=measured_gib))
    assert runner.asked == ([bound] if bound > 1 else [])
    assert (found.bound, found.bound_basis) == (bound, "stored dry runs")
    assert found.size == (2 if bound > 1 else 1)
    assert records.read(Packing, tmp_path / FILE_NAME) == found


def test_a_device_with_room_for_one_says_so_without_measuring(tmp_path: Path) -> None:
    found = find(tmp_path, Stopwatch(measured(1.0, 1.0)), estimates=estimates_for(1.0))
    assert found.reason == "packing off: memory has room for one trial (computed: stored dry runs)"


def test_the_bound_is_never_larger_than_the_study(tmp_path: Path) -> None:
    runner = Stopwatch(measured(1.0, 1.1))
    assert find(tmp_path, runner, n_trials=3, estimates=estimates_for(80.0)).bound == 3
    assert runner.asked == [3]


def test_what_nothing_is_known_about_is_measured_without_a_bound(tmp_path: Path) -> None:
    unknown = replace(estimates_for(1.0), estimate=lambda candidate, step: None)
    runner = Stopwatch(measured(1.0, 1.1))
    found = find(tmp_path, runner, estimates=unknown)
    assert (runner.asked, found.bound, found.size) == ([16], None, 2)


def test_a_decision_of_an_earlier_version_can_be_read(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"device": "cpu", "size": 4, "asked": true, "measured": []}')
    assert records.read(Packing, tmp_path / FILE_NAME) == Packing(device="cpu", size=4, asked=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 8])
def test_the_sum_of_a_pack_is_that_of_a_dry_run_of_it(size: int) -> None:
    """From profiles of single trials, up to what profiles and dry runs differ by for one trial."""
    name, lora = "Qwen/Qwen2.5-Coder-0.5B", METHODS["lora"]
    chosen = Candidate(
        base_model=name, architecture="decoder-only", method="lora", precision="bf16", batch_size=4,
        hyperparameters={**lora.hyperparameters("decoder-only"), "r": 64},
    )  # fmt: skip
    estimate = estimator_for(find_task("code-summarization"))
    alone, batch = (estimate(chosen, Step(batch_size=n, source_tokens=256)) for n in (4, 4 * size))
    assert alone is not None
    assert batch is not None
    copies = size * (alone.adapter_bytes + alone.gradients_bytes)
    run = dry_run(
        name, "lora", {"r": 64}, batch_size=4, seq_length=256, precision="bf16", pack_size=size, autocast=True
    )
    assert pack_bytes(alone, batch, size) - copies == pytest.approx(run.estimate.peak_reserved_bytes, rel=0.06)
