"""Devices: which one, in which arithmetic, how much memory, and what running out of it looks like."""

import gc
import re
import sys
from pathlib import Path

import torch

from advisor.errors import InputError
from advisor.spec import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def choose_device(name: str | None = None) -> torch.device:
    """Return the named device, or the best there is: CUDA, then Apple's MPS, then the CPU.

    Raises:
        InputError: No such device on this machine.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device: {name!r} is not a device; use cpu, cuda, cuda:0, ... or mps") from None
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        found = f"PyTorch sees {torch.cuda.device_count()} CUDA devices"
        raise InputError(f"--device: {name} is not there ({found}); leave --device out for the best there is")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("--device: mps is not available on this machine")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"--device: {name} is not supported; use cpu, cuda or mps")
    return device


def describe_device(device: torch.device) -> str:
    """Name a device for people, such as "cuda (NVIDIA L4)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def precision_on(device: torch.device, precision: Precision) -> Precision:
    """Return the precision that training uses on a device: what was asked on CUDA, float32 elsewhere.

    Half precision on a CPU is slower, not faster, and MPS has no loss scaling.

    Raises:
        InputError: bf16 on a GPU that has no hardware for it.
    """
    if device.type != "cuda":
        return "fp32"
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(f"{torch.cuda.get_device_name(device)} has no bf16; use fp16 or fp32")
    return precision


def is_out_of_memory(error: BaseException) -> bool:
    """Is this error the device (or the host) running out of memory?"""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # The CPU allocator and MPS raise a plain RuntimeError.
    return isinstance(error, RuntimeError) and bool(
        re.search(r"DefaultCPUAllocator: .*(memory|allocate)|MPS backend out of memory", str(error))
    )


def release_memory(device: torch.device) -> None:
    """Free what Python no longer refers to and hand cached blocks back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def reset_peak_memory(device: torch.device, *more_devices: torch.device) -> None:
    """Start a new measurement of peak memory."""
    if device.type == "cuda":
        for one in (device, *more_devices):
            torch.cuda.reset_peak_memory_stats(one)
    elif sys.platform == "linux":
        try:
            _CLEAR_REFS.write_text("5")  # 5 resets the peak resident set size, see proc_pid_clear_refs(5)
        except OSError:
            return


def peak_memory_bytes(device: torch.device, *more_devices: torch.device) -> int | None:
    """Return the peak since the last reset: what PyTorch allocated on CUDA, the resident set of this process on a CPU.

    Of several GPUs it is the sum of their peaks.

    The resident set holds everything of the process: libraries, base model, data. Where the kernel does not
    let the peak be reset it is that of the whole run. None where neither is known (MPS, CPU outside Linux).
    """
    if device.type == "cuda":
        return sum(map(torch.cuda.max_memory_allocated, (device, *more_devices)))
    if device.type == "cpu" and _STATUS.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), flags=re.MULTILINE)
        return int(found.group(1)) * 1024 if found else None
    return None
