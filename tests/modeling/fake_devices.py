"""Two devices that must not be mixed, on a machine without any: fake tensors on "cpu" and on "cpu:1".

PyTorch's fake tensors have shapes, types and devices but no numbers. An operator on tensors of two devices raises as it
does on GPUs, in the backward pass and in the optimizer too. (Fake tensors on "cuda:0" and "cuda:1" cannot be
differentiated where PyTorch was built without CUDA.)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers.cache_utils import DynamicLayer

FIRST, SECOND = torch.device("cpu"), torch.device("cpu", 1)
MODE = FakeTensorMode()


@contextmanager
def fake_devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let new tensors be fake within the block."""

    def empty(self: DynamicLayer, keys: torch.Tensor, values: torch.Tensor) -> None:
        # The original calls torch.tensor([], device=...), which forgets the number of a CPU.
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.keys, self.values = keys.new_empty(0), values.new_empty(0)

    monkeypatch.setattr(DynamicLayer, "lazy_initialization", empty)
    with MODE:
        yield


def put_on_devices(model: torch.nn.Module, places: Mapping[str, torch.device]) -> None:
    """Replace parameters and buffers by fake ones where the map says; adapters stand where their layers do."""
    known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # the originals are kept, for their ids
    for name, module in model.named_modules(remove_duplicate=False):
        for held in (module._parameters, module._buffers):
            for key, tensor in list(held.items()):
                if tensor is None or isinstance(tensor, FakeTensor):
                    continue
                if id(tensor) not in known:
                    known[id(tensor)] = (tensor, _fake(tensor, _place(f"{name}.{key}", places)))
                held[key] = known[id(tensor)][1]
    for key, tokens in getattr(model, "prompt_tokens", {}).items():
        model.prompt_tokens[key] = _fake(tokens, FIRST)


def _place(name: str, places: Mapping[str, torch.device]) -> torch.device:
    inside = [place for place in places if f".{place}." in f".{name}."]
    return places[max(inside, key=len)] if inside else FIRST


def _fake(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    fake = FakeTensor(MODE, tensor.detach().to("meta"), device)
    return torch.nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else fake
