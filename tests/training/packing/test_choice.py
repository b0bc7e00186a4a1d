"""Packs are tried as long as they gain time and memory has room, and leave nothing behind."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.candidates import Candidate
from advisor.training.packing import choice
from advisor.training.packing.choice import LARGEST_SHARE, measure_packs
from advisor.training.packing.layout import PackingError
from advisor.training.packing.pack import Pack
from advisor.training.resident import Resident
from advisor.trial import PackMeasurement
from tests.training.counted_memory import CountedMemory
from tests.training.toy import CLONES, candidate, splits

pytestmark = pytest.mark.slow  # together more than the fast part can take

BaseFolder = Callable[..., Path]
CPU = torch.device("cpu")


def resident() -> Resident:
    return Resident(CLONES, splits(CLONES), CPU, seed=7)


def sizes_of(measured: tuple[PackMeasurement, ...]) -> list[int]:
    return [one.size for one in measured]


def measured(
    chosen: Candidate, *, at_most: int = 8, memory: CountedMemory | None = None, step_s: float = 1.0
) -> tuple[PackMeasurement, ...]:
    """Measure with a clock by which every measurement takes `step_s` for its three steps."""
    ticks = count(0.0, step_s)
    data = resident()
    if memory is None:
        return measure_packs(data, chosen, None, seed=7, at_most=at_most, clock=lambda: next(ticks))
    with memory:
        for weights in data.base_model(chosen).model.parameters():
            weights.detach()  # an operator has to look at what it shall count
        return measure_packs(data, chosen, memory, seed=7, at_most=at_most, clock=lambda: next(ticks))


def test_packs_grow_as_long_as_they_take_no_longer(base_folder: BaseFolder) -> None:
    found = measured(candidate(base_folder("encoder-only"), "encoder-only"), at_most=3)
    assert sizes_of(found) == [1, 2, 3]
    assert [one.duration_s for one in found] == pytest.approx([1 / 3] * 3)
    assert {one.peak_memory_bytes for one in found} == {None}


def test_a_pack_that_takes_as_long_as_its_trials_one_by_one_is_the_last(base_folder: BaseFolder) -> None:
    ticks = iter([0.0, 3.0, 0.0, 6.0])
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    found = measure_packs(resident(), chosen, None, seed=7, at_most=8, clock=lambda: next(ticks))
    assert sizes_of(found) == [1, 2]


def test_no_pack_is_tried_that_memory_has_no_room_for(base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = candidate(base_folder("encoder-only"), "encoder-only")
    free = measured(chosen, at_most=4, memory=CountedMemory(10**12))
    assert sizes_of(free) == [1, 2, 4]
    peaks = {one.size: one.peak_memory_bytes or 0 for one in free}
    tried: list[int] = []
    measure = choice._measure

    def spied(*args: Any) -> Any:
        tried.append(args[4])
        return measure(*args)

    monkeypatch.setattr(choice, "_measure", spied)
    # Room for two, not for four.
    room = round((peaks[2] + peaks[4]) / 2 / LARGEST_SHARE)
    assert sizes_of(measured(chosen, at_most=4, memory=CountedMemory(room))) == [1, 2]
    assert tried == [1, 2]


def test_the_base_model_counts_once_however_many_trials_stand_on_it(base_folder: BaseFolder) -> None:
    """Twice the peak of one trial would have the weights twice."""
    chosen = replace(candidate(base_folder("encoder-only"), "encoder-only"), batch_size=1)
    one, two = (one.peak_memory_bytes or 0 for one in measured(chosen, at_most=2, memory=CountedMemory(10**12)))
    # More than a pack of two needs, less than two trials by themselves: by doubling the one, two would not be tried.
    room = round((two + 2 * one) / 2 / LARGEST_SHARE)
    assert two < 0.95 * 2 * one
    assert sizes_of(measured(chosen, at_most=2, memory=CountedMemory(room))) == [1, 2]


def test_a_pack_that_runs_out_of_memory_is_the_end_of_it(
    base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Pack.advance

    def limited(pack: Pack, targets: Any) -> None:
        if len(targets) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        advance(pack, targets)

    monkeypatch.setattr(Pack, "advance", limited)
    assert sizes_of(measured(candidate(base_folder("encoder-only"), "encoder-only"))) == [1, 2]


def test_a_model_that_packs_do_not_allow_for_is_measured_alone(
    base_folder: BaseFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PackingError("the loss is another one")

    monkeypatch.setattr(Pack, "_pass", refused)
    assert sizes_of(measured(candidate(base_folder("encoder-only"), "encoder-only"))) == [1]


def test_what_shares_no_pass_is_not_measured(base_folder: BaseFolder) -> None:
    assert measured(candidate(base_folder("encoder-only"), "encoder-only", "full")) == ()


def test_nothing_of_the_packs_stays(base_folder: BaseFolder) -> None:
    data, chosen = resident(), candidate(base_folder("encoder-only"), "encoder-only")
    before = {name: value.clone() for name, value in data.base_model(chosen).model.state_dict().items()}
    measure_packs(data, chosen, None, seed=7, at_most=2)
    after = data.base_model(chosen).model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in data.base_model(chosen).model.parameters())
