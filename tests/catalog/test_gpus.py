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


@pytest.mark.parametrize(
    ("said", "near"),
    [("RTX 4091", "GeForce RTX 4090, "), ("M2", "Apple M2 Ultra ("), ("H800", "H200 SXM, H100 SXM ("),
     ("T4x", "Tesla T4 (")],
)  # fmt: skip
def test_a_gpu_that_may_be_meant_is_named(said, near):
    with pytest.raises(UnknownNameError) as caught:
        find_gpu(said)
    assert str(caught.value).startswith(f"unknown GPU '{said}'; nearest: {near}")


@pytest.mark.parametrize("said", ["RX 7900", "Gaudi 3", "M5", ""])
def test_a_gpu_that_is_like_none_of_the_catalogue_is_told_what_the_catalogue_has(said):
    with pytest.raises(UnknownNameError) as caught:
        find_gpu(said)
    message = str(caught.value)
    assert "nearest" not in message
    assert "NVIDIA Tesla P100 16GB to B200 SXM, AMD Instinct MI210 to Instinct MI300X, Apple M1 to Apple M4" in message
    assert message.endswith("for any other give its memory in GiB, such as --vram 24)")


def test_the_l40s_has_the_figures_of_its_datasheet():
    gpu = find_gpu("L40S")
    assert (gpu.memory_bandwidth_gb_s, gpu.bf16_tflops_dense, gpu.fp32_tflops) == (864, 362, 91.6)
    assert (gpu.compute_capability, gpu.tdp_w) == ("8.9", 350)


def test_rates_are_those_without_sparsity():
    """NVIDIA's data sheets print 312 (A100) and 989 (H100 SXM), with sparsity twice that."""
    assert find_gpu("A100 80GB SXM").fp16_tflops_dense == 312
    assert find_gpu("H100 SXM").bf16_tflops_dense == 989


def test_a_card_without_bfloat16_has_no_rate_for_it():
    without = [gpu for gpu in all_gpus() if gpu.supports_bf16 is False]
    assert without
    assert all(gpu.bf16_tflops_dense is None for gpu in without)


def test_a_figure_that_is_not_known_is_none():
    assert find_gpu("GH200").tdp_w is None
    assert find_gpu("A10G").bf16_tflops_dense is None
