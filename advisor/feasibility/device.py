"""What CUDA itself takes of a device before the first tensor.

- The context: code of all kernels of PyTorch's libraries and the driver's own structures. It depends on driver,
  PyTorch build and device; half a GiB is assumed for NVIDIA and AMD alike, and nothing for Apple, whose unified
  memory holds no second copy. `studies/gpu` measures it where a device is there.
- The workspace of cuBLAS: taken through PyTorch's allocator at the first matrix product and kept. Its default is
  2 x 4096 KiB + 8 x 16 KiB, on compute capability 9.0 (Hopper) alone 32 MiB; of hipBLAS 32 MiB, on gfx94x and gfx95x
  128 MiB (`parseChosenWorkspaceSize` in aten/src/ATen/cuda/CublasHandlePool.cpp of PyTorch).
"""

from advisor.catalog.gpus import Gpu
from advisor.spec import GIB

CONTEXT_BYTES = GIB // 2
_WORKSPACE_BYTES = (2 * 4096 + 8 * 16) * 1024
_HOPPER_WORKSPACE_BYTES = 32 * 1024 * 1024
_AMD_WORKSPACE_BYTES = 32 * 1024 * 1024
_LARGE_AMD_WORKSPACE_BYTES = 128 * 1024 * 1024


def context_bytes(gpu: Gpu | None) -> int:
    """Return the bytes of a device context, of an NVIDIA GPU when none is named."""
    return 0 if gpu is not None and gpu.vendor == "apple" else CONTEXT_BYTES


def cublas_workspace_bytes(gpu: Gpu | None) -> int:
    """Return the bytes that matrix products keep, of an NVIDIA GPU other than Hopper when none is named."""
    if gpu is None:
        return _WORKSPACE_BYTES
    if gpu.vendor == "nvidia":
        return _HOPPER_WORKSPACE_BYTES if gpu.compute_capability == "9.0" else _WORKSPACE_BYTES
    if gpu.vendor == "amd":
        large = (gpu.compute_capability or "").startswith(("gfx94", "gfx95"))
        return _LARGE_AMD_WORKSPACE_BYTES if large else _AMD_WORKSPACE_BYTES
    return 0
