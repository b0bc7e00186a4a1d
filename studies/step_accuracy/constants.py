"""What a process has whatever it trains: the CUDA context, cuBLAS's workspaces, the speed of the device.

To be run in a process of its own (`python -m studies.step_accuracy.constants`), because a context only grows and a
workspace is taken once. Prints one JSON object. Without CUDA the memory is null and the speeds are the CPU's.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

MIB = 2**20
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    arguments = parser.parse_args(argv)
    print(json.dumps(measure(arguments.device, smoke=arguments.smoke)))
    return 0


def measure(device: str, *, smoke: bool) -> dict[str, Any]:
    """Return memory first, each piece at its first use, then speeds."""
    torch.empty(1, device=device)
    result: dict[str, Any] = {"context_bytes": {"after start": outside_bytes(device)}}
    result["workspace_bytes"] = workspaces(device)
    result["context_bytes"]["after matrix products"] = outside_bytes(device)
    attention(device)
    result["context_bytes"]["after attention"] = outside_bytes(device)
    size, copied_bytes = (256, MIB) if smoke else (8192, 2048 * MIB)
    result["matmul_flops_per_s"] = {name: matmul_flops_per_s(device, dtype, size) for name, dtype in TYPES.items()}
    result["copy_bytes_per_s"] = copy_bytes_per_s(device, copied_bytes)
    result["host_to_device_bytes_per_s"] = upload_bytes_per_s(device, copied_bytes // 8)
    result |= launch_times(device, 10 if smoke else 1000)
    result["float32_matmul_precision"] = torch.get_float32_matmul_precision()
    names = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "CUBLAS_WORKSPACE_CONFIG", "CUDA_MODULE_LOADING")
    result["environment"] = {name: os.environ[name] for name in names if name in os.environ}
    return result


def outside_bytes(device: str) -> int | None:
    """Return the device memory that is taken but not PyTorch's allocator's: the context (and other processes)."""
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return int(total - free - torch.cuda.memory_reserved())


def workspaces(device: str) -> dict[str, int | None]:
    """Bytes that stay allocated after a matrix product, of each kind at its first use, in the order of the names.

    The backward pass runs in a thread of its own, with a cuBLAS handle of its own.
    """
    steps: dict[str, Callable[[], object]] = {
        "bf16": lambda: _product(device, torch.bfloat16),
        "fp32": lambda: _product(device, torch.float32),
        "bf16 with bias": lambda: _biased(device, torch.bfloat16),
        "fp32 with bias": lambda: _biased(device, torch.float32),
        "backward": lambda: _product(device, torch.bfloat16, backward=True),
        "backward with bias": lambda: _biased(device, torch.bfloat16, backward=True),
    }
    taken: dict[str, int | None] = {}
    for name, step in steps.items():
        before = _allocated(device)
        step()
        after = _allocated(device)
        taken[name] = None if before is None or after is None else after - before
    return taken


def attention(device: str) -> None:
    """Load the kernels of fused attention, forward and backward."""
    query = torch.randn(2, 8, 128, 64, device=device, dtype=torch.bfloat16, requires_grad=True)
    torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True).sum().backward()


def matmul_flops_per_s(device: str, dtype: torch.dtype, size: int) -> float:
    """Return the speed of a large square matrix product."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _median_s(lambda: left @ right, device)


def copy_bytes_per_s(device: str, nbytes: int) -> float:
    """Return how many bytes are read and written per second by a copy within the device."""
    source = torch.zeros(nbytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * nbytes / _median_s(lambda: target.copy_(source), device)


def upload_bytes_per_s(device: str, nbytes: int) -> float:
    """Return the speed of a copy of ordinary (not pinned) host memory to the device."""
    source = torch.zeros(nbytes, dtype=torch.uint8)
    target = torch.empty(nbytes, dtype=torch.uint8, device=device)
    return nbytes / _median_s(lambda: target.copy_(source), device)


def launch_times(device: str, count: int) -> dict[str, float]:
    """Seconds per tiny operator, one after the other: without a graph, and with autograd recording one."""
    values = torch.zeros(16, device=device)
    weights = torch.zeros(16, device=device, requires_grad=True)

    def plain() -> None:
        for _ in range(count):
            values.add_(1.0)

    def recorded() -> None:
        result = weights
        for _ in range(count):
            result = result * 1.0
        result.sum().backward()

    return {"launch_s": _median_s(plain, device) / count, "launch_and_backward_s": _median_s(recorded, device) / count}


def _product(device: str, dtype: torch.dtype, *, backward: bool = False) -> None:
    left, right = (torch.randn(512, 512, device=device, dtype=dtype, requires_grad=backward) for _ in range(2))
    result = left @ right
    if backward:
        result.sum().backward()


def _biased(device: str, dtype: torch.dtype, *, backward: bool = False) -> None:
    layer = torch.nn.Linear(512, 512, device=device, dtype=dtype)
    result = layer(torch.randn(512, 512, device=device, dtype=dtype, requires_grad=backward))
    if backward:
        result.sum().backward()


def _allocated(device: str) -> int | None:
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    return int(torch.cuda.memory_allocated())


def _median_s(run: Callable[[], object], device: str, repeats: int = 7) -> float:
    """Median duration, the first run left out."""
    durations = []
    for _ in range(repeats + 1):
        _allocated(device)  # waits for the device
        begun = time.perf_counter()
        run()
        _allocated(device)
        durations.append(time.perf_counter() - begun)
    return statistics.median(durations[1:])


if __name__ == "__main__":
    sys.exit(main())
