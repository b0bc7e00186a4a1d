"""A study packs as many trials as pays, by measurement, and keeps to it."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from advisor.candidates import Candidate
from advisor.result import Packing
from advisor.training.packing.choice import best_pack, pack_sizes
from advisor.trial import PackMeasurement
from advisor.tuning.events import PackingChosen, StageStarted
from advisor.tuning.packing import find_packing
from tests.search.fakes import candidate


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


def find(folder: Path, runner: Stopwatch, asked: int | None = None, n_trials: int = 20) -> Packing:
    folder.mkdir(exist_ok=True)
    told: list[StageStarted | PackingChosen] = []
    found = find_packing(folder, runner, candidate(), asked=asked, n_trials=n_trials, on_event=told.append)
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
