"""Devices are chosen or refused, and running out of memory is recognised."""

import sys

import pytest
import torch

from advisor.errors import InputError
from advisor.modeling.devices import (
    choose_device,
    describe_device,
    is_out_of_memory,
    peak_memory_bytes,
    precision_on,
    reset_peak_memory,
)

CPU = torch.device("cpu")


def test_without_accelerators_the_cpu_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == CPU
    assert describe_device(choose_device("cpu")) == "cpu"


@pytest.mark.parametrize("name", ["toaster", "cuda", "cuda:3", "mps", "meta"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="--device"):
        choose_device(name)


def test_a_cpu_computes_in_float32() -> None:
    assert [precision_on(CPU, precision) for precision in ("fp32", "fp16", "bf16")] == ["fp32"] * 3  # type: ignore[arg-type]


def test_a_gpu_without_bf16_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    assert precision_on(torch.device("cuda"), "fp16") == "fp16"
    with pytest.raises(InputError, match="Tesla T4 has no bf16"):
        precision_on(torch.device("cuda"), "bf16")


def test_running_out_of_memory_has_several_faces() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.skipif(sys.platform != "linux", reason="the resident set is read from /proc")
def test_peak_memory_sees_what_was_there_for_a_moment() -> None:
    reset_peak_memory(CPU)
    before = peak_memory_bytes(CPU)
    torch.ones(60 * 2**20, dtype=torch.uint8)
    after = peak_memory_bytes(CPU)
    assert before is not None
    assert after is not None
    assert after - before > 50 * 2**20
