"""What CUDA takes before the first tensor, for GPUs of the catalogue."""

import pytest

from advisor.catalog.gpus import find_gpu
from advisor.feasibility.device import CONTEXT_BYTES, context_bytes, cublas_workspace_bytes

KIB, MIB = 2**10, 2**20
# `parseChosenWorkspaceSize` in aten/src/ATen/cuda/CublasHandlePool.cpp of PyTorch: ":4096:2:16:8" in KiB, or 32 MiB on
# compute capability 9.0; on ROCm 32 MiB, or 128 MiB on gfx94x and gfx95x.
USUAL = 2 * 4096 * KIB + 8 * 16 * KIB


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        ("t4", USUAL), ("a100-80gb", USUAL), ("rtx 4090", USUAL), ("l40s", USUAL), ("h100", 32 * MIB),
        ("h200", 32 * MIB), ("b200", USUAL), ("rtx 5090", USUAL), ("mi210", 32 * MIB), ("mi300x", 128 * MIB),
        ("m1 max", 0),
    ],
)  # fmt: skip
def test_the_workspace_of_matrix_products_depends_on_the_architecture(gpu, expected):
    assert cublas_workspace_bytes(find_gpu(gpu)) == expected


def test_without_a_gpu_one_of_nvidia_is_assumed():
    assert cublas_workspace_bytes(None) == USUAL
    assert context_bytes(None) == CONTEXT_BYTES == 512 * MIB


@pytest.mark.parametrize(("gpu", "expected"), [("rtx 3090", 512 * MIB), ("mi300x", 512 * MIB), ("m1 max", 0)])
def test_apple_s_unified_memory_holds_no_context(gpu, expected):
    assert context_bytes(find_gpu(gpu)) == expected
