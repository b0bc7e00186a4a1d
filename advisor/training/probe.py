"""One real optimizer step, measured: the memory that the device gave for it and the time that it took.

The rows are the longest of the training split, so the step is the most demanding one that training will meet. A first
step that is not timed makes the optimizer's state and loads the kernels; memory is that of both steps.

Not covered: evaluation and generation, which go on with smaller batches when memory runs out; the optimizer's state
where float16 overflows in both steps, so that no update is made; Apple's memory at its peak, since Metal reports what
it holds now, which is the peak as long as freed blocks stay in the cache.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import torch

from advisor.candidates import Candidate
from advisor.modeling.attachment import attach_adapter
from advisor.modeling.devices import is_out_of_memory, release_memory
from advisor.training.loop import Training
from advisor.training.resident import Resident
from advisor.training.tokens import TokenRow
from advisor.trial import StepMeasurement

_UNTIMED_STEPS, _TIMED_STEPS = 1, 1
ResultT = TypeVar("ResultT")


class DeviceMemory(Protocol):
    """What a device says about its memory."""

    def reset(self) -> None:
        """Hand cached blocks back and start a new measurement of the peak."""

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""

    def peak_bytes(self) -> int:
        """Return the most that PyTorch's allocator held since the last reset."""

    def available_bytes(self) -> int:
        """Return the most that it could hold: what it holds and what is free."""


class CudaMemory:
    """Memory of a CUDA device, or of several that hold one model: then the sum of them."""

    def __init__(self, *devices: torch.device) -> None:
        """Look at `devices`."""
        self._devices = devices

    def reset(self) -> None:
        """See `DeviceMemory`."""
        release_memory(self._devices[0])
        for device in self._devices:
            torch.cuda.reset_peak_memory_stats(device)

    def synchronize(self) -> None:
        """See `DeviceMemory`."""
        for device in self._devices:
            torch.cuda.synchronize(device)

    def peak_bytes(self) -> int:
        """See `DeviceMemory`."""
        return sum(map(torch.cuda.max_memory_reserved, self._devices))

    def available_bytes(self) -> int:
        """See `DeviceMemory`; of several devices as much as they hold when the first is full, shared as at the peak."""
        available = [torch.cuda.mem_get_info(one)[0] + torch.cuda.memory_reserved(one) for one in self._devices]
        if len(available) == 1:
            return available[0]
        peaks = list(map(torch.cuda.max_memory_reserved, self._devices))
        return int(sum(peaks) * min(has / max(1, peak) for has, peak in zip(available, peaks, strict=True)))


class MpsMemory:
    """Unified memory of an Apple GPU, as far as Metal recommends to use it."""

    def reset(self) -> None:
        """See `DeviceMemory`."""
        release_memory(torch.device("mps"))
        torch.mps.empty_cache()

    def synchronize(self) -> None:
        """See `DeviceMemory`."""
        torch.mps.synchronize()

    def peak_bytes(self) -> int:
        """See `DeviceMemory`, and the limits of this module."""
        return torch.mps.driver_allocated_memory()

    def available_bytes(self) -> int:
        """See `DeviceMemory`."""
        return torch.mps.recommended_max_memory()


def device_memory(device: torch.device, *more_devices: torch.device) -> DeviceMemory | None:
    """Return what reports the memory of devices, None for a CPU: there is no peak of its own for one step."""
    if device.type == "cuda":
        return CudaMemory(device, *more_devices)
    return MpsMemory() if device.type == "mps" else None


def measure_step(
    data: Resident,
    candidate: Candidate,
    memory: DeviceMemory,
    *,
    seed: int,
    clock: Callable[[], float] = time.perf_counter,
) -> StepMeasurement | None:
    """Train a fresh adapter for a few steps and measure the last; the base model is as before afterwards.

    Args:
        data: Base model and training rows.
        candidate: What to train.
        memory: Of the device that `data` is on.
        seed: Of adapter and dropout.
        clock: Seconds.

    Returns:
        With the candidate's micro-batch, or with the first of its halves that does not run out of memory; None when
        not even single examples fit.

    Raises:
        AdvisorError: The candidate cannot be trained.
        NonFiniteLossError: It diverges at once.
    """
    size = min(candidate.micro_batch_size or candidate.batch_size, len(data.examples("train")))
    while size >= 1:
        halved = replace(candidate, micro_batch_size=size)
        measured = unless_out_of_memory(partial(_measure, data, halved, memory, seed, clock))
        memory.reset()  # here, where nothing holds on to the tensors of the step any more
        if measured is not None:
            return measured
        size //= 2
    return None


def unless_out_of_memory(run: Callable[[], ResultT]) -> ResultT | None:
    """Return what `run` returns, None when memory runs out; nothing holds on to the tensors of the failure then."""
    try:
        return run()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None


def _measure(
    data: Resident, candidate: Candidate, memory: DeviceMemory, seed: int, clock: Callable[[], float]
) -> StepMeasurement | None:
    attached = attach_adapter(data.base_model(candidate), candidate, seed=seed)
    try:
        rows = _longest(data.rows("train", candidate, attached).rows, candidate.batch_size)
        n_steps = _UNTIMED_STEPS + _TIMED_STEPS
        training = Training(attached, rows, candidate, n_steps=n_steps, seed=seed, data_seed=seed)
        memory.reset()
        training.advance_to(_UNTIMED_STEPS)
        memory.synchronize()
        began_s = clock()
        training.advance_to(n_steps)
        memory.synchronize()
        duration_s = (clock() - began_s) / _TIMED_STEPS
        if training.micro_batch_size != candidate.micro_batch_size:
            return None  # memory ran out on the way, so the peak is that of the device and not that of the step
        return StepMeasurement(
            peak_memory_bytes=memory.peak_bytes(),
            available_bytes=memory.available_bytes(),
            duration_s=duration_s,
            micro_batch_size=training.micro_batch_size,
            source_tokens=max(len(row.input_ids) for row in rows),
            target_tokens=max(len(row.labels) for row in rows) if attached.base.request.head == "seq2seq-lm" else 0,
        )
    finally:
        data.give_back(attached)


def _longest(rows: list[TokenRow], n_rows: int) -> list[TokenRow]:
    """Return the longest rows; source and target of an encoder-decoder count alike."""
    return sorted(rows, key=lambda row: len(row.input_ids) + len(row.labels), reverse=True)[:n_rows]
