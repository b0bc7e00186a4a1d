"""Copies of a model's structure that share its weights, so that several adapters stand on one base model in memory.

PEFT changes the modules of the model it is given: layers are wrapped, heads copied, hooks set. Each adapter therefore
gets modules of its own; the tensors in them are the base model's. A copy costs a few kilobytes per module.

Not covered: code that keeps modules in closures or lists (transformers' models of the catalogue do not), and models
spread over several devices.
"""

import copy
from dataclasses import replace

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from advisor.modeling.base import BaseModel

_SET_BY_ACCELERATE = ("forward", "_old_forward", "_hf_hook")


def shared_base(base: BaseModel) -> BaseModel:
    """Return a base model with modules of its own and the weights of `base`; a classification head is copied."""
    own = [module for head in base.head_modules.values() for module in head.modules()]
    return replace(base, model=shared_copy(base.model, own=own))


def shared_copy(model: PreTrainedModel, *, own: list[torch.nn.Module] | None = None) -> PreTrainedModel:
    """Copy the structure of a model.

    Args:
        model: Any model; it is not changed.
        own: Modules whose parameters and buffers are copied too; all others are shared.

    Returns:
        A model whose modules, hooks and configuration can be changed without a trace in `model`.
    """
    copies: dict[int, object] = {}
    _copied(model, copies, {id(module) for module in own or ()})
    # An attribute may name a module that stands elsewhere in the tree, or the configuration.
    for module in list(copies.values()):
        if isinstance(module, torch.nn.Module):
            attributes = vars(module)
            attributes.update({name: copies[id(value)] for name, value in attributes.items() if id(value) in copies})
    found = copies[id(model)]
    assert isinstance(found, PreTrainedModel)
    return found


def _copied(module: torch.nn.Module, copies: dict[int, object], own: set[int]) -> torch.nn.Module:
    known = copies.get(id(module))
    if isinstance(known, torch.nn.Module):
        return known
    new = type(module).__new__(type(module))
    copies[id(module)] = new
    attributes = {name: copy.copy(value) if _is_plain(value) else value for name, value in vars(module).items()}
    if "_hf_hook" in attributes:
        # accelerate binds `forward` to the module it was set on; on one device it only moves what is there already.
        attributes = {name: value for name, value in attributes.items() if name not in _SET_BY_ACCELERATE}
    for value in attributes.values():
        if isinstance(value, PreTrainedConfig) and id(value) not in copies:
            copies[id(value)] = copy.deepcopy(value)
    attributes["_modules"] = {
        name: None if child is None else _copied(child, copies, own) for name, child in module._modules.items()
    }
    if id(module) in own:
        attributes["_parameters"] = {name: _parameter(value) for name, value in module._parameters.items()}
        attributes["_buffers"] = {
            name: None if value is None else value.clone() for name, value in module._buffers.items()
        }
    vars(new).update(attributes)
    return new


def _is_plain(value: object) -> bool:
    return isinstance(value, dict | set)


def _parameter(value: torch.nn.Parameter | None) -> torch.nn.Parameter | None:
    return None if value is None else torch.nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
