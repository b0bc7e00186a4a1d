"""The catalogue of GPUs."""

import pytest

from advisor.catalog.gpus import all_gpus, find_gpu
from advisor.errors import UnknownNameError


@pytest.mark.parametrize(
    ("said", "meant"),
    [("rtx 4090", "GeForce RTX 4090"), ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"), ("T4", "Tesla T4"),
     ("a100-80gb", "A100 80GB SXM"), ("a100", "A100 40GB"), ("H100", "H100 SXM")],
)  # fmt: skip
def test_a_gpu_is_found_under_the_names_people_use(said, meant):
    assert find_gpu(said).name == meant


def test_usable_memory_is_below_the_marketing_figure():
    assert all(0 < gpu.usable_gib <= gpu.vram_gb for gpu in all_gpus())


def test_a_card_without_bfloat16_says_so():
    assert find_gpu("t4").supports_bf16 is False
    assert find_gpu("l4").supports_bf16 is True


def test_an_unknown_gpu_names_the_nearest_and_the_way_out():
    with pytest.raises(UnknownNameError, match=r"RTX 4090.*--vram"):
        find_gpu("RTX 4091")
