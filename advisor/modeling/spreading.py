"""A base model over several devices: whole layers on each, in the order of the forward pass.

accelerate loads each weight to its device by the map made here. Its hooks are taken off again: they are bound to the
modules that they were set on, of which each trial has copies (`modeling.sharing`), and they copy a mask anew for every
layer, so that each keeps its own for the backward pass. The hooks set instead bring what a module is given to its
device; what needs no gradient is copied once to each device. What the last layer on a device gives moves on with the
layer itself, for a layer that is computed anew must find its input where it draws its dropout: PyTorch remembers the
random numbers of the input's device alone.

Adapters stand where their layers do. Batches go to the first device, logits and loss are on that of the output head,
to which transformers moves the labels. One device works at a time.

Not covered: sharding of single layers, offloading to host or disk, mixtures whose experts stand apart, models of
transformers whose loss takes labels where they are (ModernBERT, PLBART: far too small to need it). Methods whose parts
meet across layers are refused (`ACROSS_LAYERS`). It was never run on several GPUs, only on the host and on fake tensors
of two devices.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_submodules  # type: ignore[import-untyped]
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import PreTrainedModel

from advisor.errors import InputError
from advisor.feasibility.spread import partition
from advisor.modeling.devices import choose_device, describe_device

# Kinds of device that one worker can have several of; with the host alone it can be tried out.
_SEVERAL = ("cuda", "cpu")
_SET_BY_DISPATCH = ("to", "cuda", "npu", "xpu", "mlu", "sdaa", "musa", "neuron", "hpu", "mps")
# Their losses or budgets add up numbers of all layers, as if these were on one device.
ACROSS_LAYERS: Mapping[str, str] = {
    "adalora": "AdaLoRA ranks the singular values of all layers together",
    "lily": "Lily shares matrices between layers",
}

DeviceMap = dict[str, torch.device]


def devices_of(text: str) -> tuple[str, ...]:
    """Return the names in a list of devices, such as "cuda:0,cuda:1"; of "cuda" alone it is the one.

    Raises:
        InputError: A name is missing or stands twice, or the devices are of different kinds.
    """
    names = tuple(name.strip() for name in text.split(","))
    kinds = {name.partition(":")[0] for name in names}
    if len(names) == 1:
        return names
    if "" in names:
        raise InputError(f"--device: {text!r} names no device between its commas; write cuda:0,cuda:1")
    if len(kinds) > 1 or not kinds <= {*_SEVERAL}:
        raise InputError(f"--device: {text!r} mixes kinds; several devices of one worker are GPUs, as cuda:0,cuda:1")
    if kinds == {"cuda"} and (len({*names}) < len(names) or "cuda" in names):
        raise InputError(f"--device: {text!r} must name each GPU once and by its number, as cuda:0,cuda:1")
    return names


def choose_devices(text: str | None = None) -> tuple[torch.device, ...]:
    """Return the named devices, or the best one there is.

    Raises:
        InputError: One is not there, or they do not go together.
    """
    if text is None:
        return (choose_device(),)
    return tuple(choose_device(name) for name in devices_of(text))


def describe_devices(devices: Sequence[torch.device]) -> str:
    """Name devices for people, such as "cuda:0, cuda:1 (2 x NVIDIA L4)"."""
    if len(devices) == 1 or devices[0].type != "cuda":
        return ", ".join(describe_device(device) for device in devices)
    found = [torch.cuda.get_device_name(device) for device in devices]
    kinds = " + ".join(f"{found.count(name)} x {name}" for name in dict.fromkeys(found))
    return f"{', '.join(map(str, devices))} ({kinds})"


def layers_in(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """Return the layers of all stacks with their names, in the order of the forward pass.

    They are the members of the outermost lists of modules.
    """
    found: list[tuple[str, torch.nn.Module]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, torch.nn.ModuleList) and not inside:
            found += [(f"{name}.{number}", layer) for number, layer in enumerate(module)]
    return found


def device_map(
    model: PreTrainedModel, devices: Sequence[torch.device], layers_per_device: Sequence[int] = ()
) -> DeviceMap:
    """Return where the modules of a model go; every parameter and buffer is in one of them, or named itself.

    What stands before the layers goes with the first of them and what stands after with the last, an output head that
    shares the embedding table with the latter, and what has no parameters (positions) with the first layer.

    Args:
        model: With or without weights (on the meta device).
        devices: In the order of the forward pass.
        layers_per_device: How many layers go to each; empty, or of another model, to balance the weights.

    Raises:
        InputError: The model has fewer layers than there are devices.
    """
    layers = layers_in(model)
    if len(layers) < len(devices):
        raise InputError(f"a model of {len(layers)} layers cannot be spread over {len(devices)} devices; name fewer")
    if len(layers_per_device) != len(devices) or sum(layers_per_device) != len(layers):
        layers_per_device = _balanced(model, [layer for _, layer in layers], len(devices))
    owners = [device for device, n in zip(devices, layers_per_device, strict=True) for _ in range(n)]
    own = {name: device for (name, _), device in zip(layers, owners, strict=True)}
    return dict(_placed(model, "", own, (devices[0], devices[-1]), {}))


def settle(model: PreTrainedModel, places: Mapping[str, torch.device]) -> None:
    """Make a model that accelerate has loaded by a map run on its devices, copies of its structure too.

    Args:
        model: Without adapters.
        places: Where its modules are, as `device_map` says.
    """
    remove_hook_from_submodules(model)
    for name in _SET_BY_DISPATCH:  # methods of the model it was loaded as, which copies must not have
        vars(model).pop(name, None)
    # PEFT moves the keys and values of a prefix by it.
    vars(model)["hf_device_map"] = dict(places)
    arrivals = {device: _Arrival(device) for device in {*places.values()}}
    for name, module in model.named_modules():
        if name in places:
            module.register_forward_pre_hook(arrivals[places[name]], with_kwargs=True)
    layers = [(module, places[name]) for name, module in layers_in(model)]
    for (module, device), (_, following) in pairwise(layers):
        if device != following:
            module.register_forward_hook(_Departure(following))


class _Arrival:
    """A forward pre-hook: brings tensors to a device; those without gradient once, however many layers read them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = WeakTensorKeyDictionary()

    def __call__(self, module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return _each_tensor(args, self._here), _each_tensor(kwargs, self._here)

    def _here(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device == self._device:
            return tensor
        if tensor.requires_grad:
            return tensor.to(self._device)
        known = self._copies.get(tensor)
        if known is None or known[0] != tensor._version:
            known = (tensor._version, tensor.to(self._device))
            self._copies[tensor] = known
        copied: torch.Tensor = known[1]
        return copied


class _Departure:
    """A forward hook: what a layer gives moves on to the device of the next layer."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> Any:
        return _each_tensor(output, lambda tensor: tensor.to(self._device))


def _each_tensor(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Change the tensors in tuples, lists and dictionaries; a cache of keys and values stays as it is."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in (tuple, list):
        return type(value)(_each_tensor(one, change) for one in value)
    if type(value) is dict:
        return {name: _each_tensor(one, change) for name, one in value.items()}
    return value


def _placed(
    module: torch.nn.Module,
    name: str,
    layers: Mapping[str, torch.device],
    ends: tuple[torch.device, torch.device],
    known: dict[int, torch.device],
) -> Iterator[tuple[str, torch.device]]:
    """Yield the places of what is in a module that has layers in it.

    Args:
        module: The module.
        name: Its full name.
        layers: Places of the layers.
        ends: Places of what stands before the layers of this module, and after them.
        known: Places of parameters by their ids, for modules that share some: embedding tables and output heads.
    """
    before, after = ends
    place = before  # before the layers of this module, and after them
    tensors = {**module._parameters, **module._buffers}
    yield from ((_joined(name, one), after) for one, tensor in tensors.items() if tensor is not None)
    for child_name, child in module._modules.items():
        if child is None or not _has_tensors(child):  # a dropout works on any device
            continue
        full = _joined(name, child_name)
        inside = [device for layer, device in layers.items() if layer == full or layer.startswith(f"{full}.")]
        if full in layers:
            yield full, layers[full]
        elif inside:
            yield from _placed(child, full, layers, (inside[0], inside[-1]), known)
        else:
            parameters = [id(one) for one in child.parameters()]
            shared = next((known[one] for one in parameters if one in known), None)
            found = shared or (place if parameters else before)
            known.update(dict.fromkeys(parameters, found))
            yield full, found
        place = after if inside else place


def _has_tensors(module: torch.nn.Module) -> bool:
    return any(True for tensors in (module.parameters(), module.buffers()) for _ in tensors)


def _joined(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _balanced(model: PreTrainedModel, layers: Sequence[torch.nn.Module], n: int) -> tuple[int, ...]:
    """Return how many layers go to each device, so that the largest share of the weights is as small as can be."""
    sizes = [_nbytes(layer) for layer in layers]
    table = _nbytes(model.get_input_embeddings())
    rest = max(0, _nbytes(model) - sum(sizes) - table)

    def cost(first: int, last: int) -> int:
        return sum(sizes[first:last]) + (table if first == 0 else 0) + (rest if last == len(sizes) else 0)

    return partition(len(sizes), n, cost)


def _nbytes(module: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
