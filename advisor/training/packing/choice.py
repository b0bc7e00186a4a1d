"""How many trials share passes: measured, since it depends on model, data and device where a device is full.

Small models and short sequences leave a GPU waiting for its host; there a pack of K costs little more than one trial. A
CPU, or a GPU that large batches keep busy, does K times the work in K times the time.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from advisor.candidates import Candidate
from advisor.modeling.attachment import AttachedModel, attach_adapter
from advisor.training.loop import Training
from advisor.training.packing.layout import PackingError
from advisor.training.packing.pack import Pack, pack_key
from advisor.training.probe import DeviceMemory, unless_out_of_memory
from advisor.training.resident import Resident
from advisor.trial import PackMeasurement

# The first step allocates, chooses kernels and fills caches.
_UNTIMED_STEPS = 1
_TIMED_STEPS = 3
# A larger pack must be worth what it costs elsewhere: more trials begin before the first ones teach the sampler.
_LEAST_GAIN = 0.2
# Of the device's memory. Trials differ in rank and targets, so what is measured must leave room for larger packs.
LARGEST_SHARE = 0.85


def pack_sizes(at_most: int) -> list[int]:
    """Return the sizes that are tried: powers of two, and the limit itself."""
    return [*(2**power for power in range((at_most - 1).bit_length())), at_most]


def measure_packs(
    data: Resident,
    candidate: Candidate,
    memory: DeviceMemory | None,
    *,
    seed: int,
    at_most: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[PackMeasurement, ...]:
    """Train packs of more and more copies of a candidate for a few steps, as long as that gains time.

    Args:
        data: Base model and training rows; the base model is as before afterwards.
        candidate: What to train.
        memory: Of the device, None where it does not report any.
        seed: Of adapters and data.
        at_most: Largest pack.
        clock: Seconds.

    Returns:
        One measurement per size that was tried and fits; the quickest per trial comes last or last but one. Empty when
        the candidate cannot be packed.

    Raises:
        AdvisorError: The candidate cannot be trained.
        NonFiniteLossError: It diverges at once.
    """
    held_bytes = _held_bytes(data, candidate, memory)
    measured: list[PackMeasurement] = []
    for size in pack_sizes(at_most):
        if measured and memory is not None and _expected_bytes(measured, held_bytes, size) > _room_bytes(memory):
            break
        found = _unless_it_fails(partial(_measure, data, candidate, memory, seed, size, clock))
        if memory is not None:
            memory.reset()
        if found is None:
            break
        measured.append(found)
        if not _last_pays(measured):
            break
    return tuple(measured)


def best_pack(measured: tuple[PackMeasurement, ...]) -> int:
    """Return the size that spends least time per trial; 1 when nothing was measured."""
    if not measured:
        return 1
    return measured[-1 if _last_pays(measured) else -2].size


def _last_pays(measured: Sequence[PackMeasurement]) -> bool:
    """Is the largest pack worth it against the one before? A trial alone always is."""
    if len(measured) < 2:
        return True
    return measured[-1].trial_step_s <= (1 - _LEAST_GAIN) * measured[-2].trial_step_s


def _held_bytes(data: Resident, candidate: Candidate, memory: DeviceMemory | None) -> int:
    """Return what is on the device without any trial: the base model."""
    if memory is None:
        return 0
    data.base_model(candidate)
    memory.reset()
    return memory.peak_bytes()


def _room_bytes(memory: DeviceMemory) -> float:
    return LARGEST_SHARE * memory.available_bytes()


def _expected_bytes(measured: Sequence[PackMeasurement], held_bytes: int, size: int) -> float:
    """Return the peak of a larger pack on the line through the last two; no trials at all are the first of them."""
    points = [(0, held_bytes), *((one.size, one.peak_memory_bytes or 0) for one in measured)]
    (size_before, before), (size_last, last) = points[-2:]
    return last + (size - size_last) * (last - before) / (size_last - size_before)


def _unless_it_fails(measure: Callable[[], PackMeasurement | None]) -> PackMeasurement | None:
    try:
        return unless_out_of_memory(measure)
    except PackingError:
        return None


def _measure(
    data: Resident,
    candidate: Candidate,
    memory: DeviceMemory | None,
    seed: int,
    size: int,
    clock: Callable[[], float],
) -> PackMeasurement | None:
    attached: list[AttachedModel] = []
    try:
        for number in range(size):
            one = attach_adapter(data.lend(candidate), candidate, seed=seed + number)
            attached.append(one)  # one by one, so that those that were made are given back if another fails
        if pack_key(attached[0], gradient_checkpointing=candidate.gradient_checkpointing) is None:
            return None
        advance = _stepper(data, candidate, attached, seed)
        if memory is not None:
            memory.reset()
        advance(_UNTIMED_STEPS)
        duration_s = _timed(advance, memory, clock)
        peak = None if memory is None else memory.peak_bytes()
        return PackMeasurement(size=size, duration_s=duration_s, peak_memory_bytes=peak)
    finally:
        for one in attached:
            data.give_back(one)


def _stepper(data: Resident, candidate: Candidate, attached: list[AttachedModel], seed: int) -> Callable[[int], None]:
    """Return what trains up to a step: the loop for one trial, else a pack."""
    rows = data.rows("train", candidate, attached[0]).rows
    n_steps = _UNTIMED_STEPS + _TIMED_STEPS
    trainings = {
        number: Training(one, rows, candidate, n_steps=n_steps, seed=seed + number, data_seed=seed)
        for number, one in enumerate(attached)
    }
    if len(trainings) == 1:
        return trainings[0].train_to
    pack = Pack(data.base_model(candidate), trainings, halves=False)
    return lambda step: pack.advance(dict.fromkeys(trainings, step))


def _timed(advance: Callable[[int], None], memory: DeviceMemory | None, clock: Callable[[], float]) -> float:
    """Return the mean seconds of a step: batches are of different lengths, and all sizes see the same ones."""
    if memory is not None:
        memory.synchronize()
    began_s = clock()
    advance(_UNTIMED_STEPS + _TIMED_STEPS)
    if memory is not None:
        memory.synchronize()
    return (clock() - began_s) / _TIMED_STEPS
