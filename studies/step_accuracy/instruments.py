"""What is read off the device while a step runs: bytes, durations, kernels. None or zero where there is no CUDA."""

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

from studies.gpu.entry import Slot

TIMED_STEPS, MOST_TIMED_STEPS, TIMED_S = 5, 30, 2.0
LONGEST, NAME_LENGTH = 15, 120  # kernels kept by name


def release(device: str) -> None:
    """Free what nobody refers to, cuBLAS's workspaces too: the next case pays for its own, as a new process would."""
    import torch

    if device == "cuda":
        gc.collect()
        torch.cuda.synchronize()
        getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)()
        torch.cuda.empty_cache()


def allocated_bytes(device: str) -> int:
    """Return the bytes of live blocks now, 0 where PyTorch does not count them."""
    import torch

    return int(torch.cuda.memory_allocated()) if device == "cuda" else 0


def begin_peaks(device: str) -> dict[str, int | None]:
    """Start counting peaks and return what is held now."""
    import torch

    if device != "cuda":
        return {"allocated_before_bytes": None, "reserved_before_bytes": None}
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.reset_accumulated_memory_stats()  # the count of retries
    return {
        "allocated_before_bytes": int(torch.cuda.memory_allocated()),
        "reserved_before_bytes": int(torch.cuda.memory_reserved()),
    }


def read_peaks(device: str) -> dict[str, int | None]:
    """Peaks since `begin_peaks`, weights included, and what the process holds outside PyTorch's allocator."""
    import torch

    names = ("peak_allocated_bytes", "peak_reserved_bytes", "peak_requested_bytes", "alloc_retries", "outside_bytes")
    if device != "cuda":
        return dict.fromkeys(names)
    torch.cuda.synchronize()
    statistics_now = torch.cuda.memory_stats()
    free, total = torch.cuda.mem_get_info()
    values = (
        torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved(),
        statistics_now.get("requested_bytes.all.peak"), statistics_now.get("num_alloc_retries"),
        total - free - torch.cuda.memory_reserved(),
    )  # fmt: skip
    return dict(zip(names, values, strict=True))


def timed(run: Callable[[], object], slot: Slot) -> list[float]:
    """Return the durations of single runs, each from an idle device to an idle device."""
    times: list[float] = []
    wanted = 2 if slot.smoke else TIMED_STEPS
    while len(times) < wanted or (not slot.smoke and sum(times) < TIMED_S and len(times) < MOST_TIMED_STEPS):
        synchronize(slot.device)
        begun = time.perf_counter()
        run()
        synchronize(slot.device)
        times.append(time.perf_counter() - begun)
    return times


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def time_summary(times: list[float]) -> dict[str, Any]:
    """Return the median, and all durations."""
    return {"step_s": statistics.median(times), "steps_s": [round(value, 6) for value in times]}


def kernel_times(run: Callable[[], object], slot: Slot) -> dict[str, Any]:
    """Return how long the device computed in one run, in how many kernels and copies, and in which most.

    The rest of a step is waiting for the host.
    """
    from torch.profiler import ProfilerActivity, profile

    activity = ProfilerActivity.CUDA if slot.device == "cuda" else ProfilerActivity.CPU
    try:
        with profile(activities=[activity]) as profiler:
            run()
            synchronize(slot.device)
        # Annotations such as "Optimizer.step" span kernels that are there themselves.
        events = [event for event in profiler.events() or () if not getattr(event, "is_user_annotation", False)]
        kernels = [(event.name, event.time_range.elapsed_us() / 1e6) for event in events if _on(event, slot.device)]
    except Exception as error:
        # The profiler needs rights that not every machine gives; memory and time stand without it.
        return {"kernel_s": None, "n_kernels": None, "profiler_error": str(error)[:200]}
    return {
        "kernel_s": sum(duration for _, duration in kernels),
        "n_kernels": len(kernels),
        "longest_kernels": longest(kernels),
    }


def longest(kernels: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    """Return the kernels that took the most time together, with their numbers."""
    totals: dict[str, tuple[int, float]] = {}
    for name, duration in kernels:
        count, total = totals.get(name, (0, 0.0))
        totals[name] = count + 1, total + duration
    ranked = sorted(totals.items(), key=lambda item: -item[1][1])[:LONGEST]
    return [{"name": name[:NAME_LENGTH], "count": count, "seconds": total} for name, (count, total) in ranked]


def _on(event: Any, device: str) -> bool:
    return bool(event.device_type.name.lower() == device)
