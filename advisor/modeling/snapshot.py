"""Bringing a base model back to exactly what it was before an adapter was attached and trained.

PEFT has `unload` for most methods, but it leaves the trained head in place, does not know prompt learning, and
keeps hooks, flags and configuration changes. Restoring what was there before works for all of them alike.
"""

import copy
from collections.abc import Iterable

import torch
from transformers import PreTrainedModel


class Snapshot:
    """Structure, flags, configuration and chosen values of a model."""

    def __init__(self, model: PreTrainedModel, *, values: Iterable[torch.Tensor]) -> None:
        """Remember the model.

        Args:
            model: The model to come back to.
            values: Parameters and buffers that will be changed in place; they are copied to the host. All
                others are expected to keep their values, which `restore` checks.
        """
        self._model = model
        # Replacing a layer changes the dictionaries of its parent, so shallow copies of all of them suffice.
        self._attributes = {module: _shallow(vars(module)) for module in model.modules()}
        self._trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self._config = _shallow(vars(model.config))
        self._values = [(tensor, tensor.detach().to("cpu", copy=True)) for tensor in values]
        copied = {id(tensor) for tensor, _ in self._values}
        self._versions = [(tensor, _version(tensor)) for tensor in _tensors(model) if id(tensor) not in copied]

    def restore(self) -> bool:
        """Bring the model back.

        Returns:
            Whether all tensors that were not copied are untouched; if not, the model must not be used again.
        """
        for module, attributes in self._attributes.items():
            vars(module).clear()
            vars(module).update(_shallow(attributes))
        vars(self._model.config).clear()
        vars(self._model.config).update(_shallow(self._config))
        with torch.no_grad():
            for tensor, value in self._values:
                tensor.copy_(value)
        for parameter, requires_grad in self._trainable:
            parameter.requires_grad_(requires_grad)
            parameter.grad = None
        return all(_version(tensor) == version for tensor, version in self._versions)


def _shallow(attributes: dict[str, object]) -> dict[str, object]:
    return {name: copy.copy(value) if isinstance(value, (dict, set)) else value for name, value in attributes.items()}


def _tensors(model: PreTrainedModel) -> Iterable[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _version(tensor: torch.Tensor) -> tuple[int, int]:
    # PyTorch counts every write to a tensor; assigning `.data` is not counted but moves it.
    return tensor._version, tensor.data_ptr()
