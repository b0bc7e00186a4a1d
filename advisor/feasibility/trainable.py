"""How many parameters a method trains, from the sizes of the base model.

Not covered: PEFT's per-model target lists for model types outside the large families (`auto` is taken as query
and value projections for LoRA, as keys, values and the feed-forward output for (IA)3, which is what PEFT 0.21
does for T5, Llama and Mistral; a few types take queries in place of keys, RoBERTa its attention output as well).
"""

from collections.abc import Collection, Mapping

from advisor.catalog.base_models import BaseModel
from advisor.catalog.methods import LORA_FAMILY
from advisor.catalog.shapes import Linear, Shape
from advisor.catalog.tasks import Head
from advisor.feasibility.adapter_sizes import (
    bias_params,
    bottleneck_params,
    has_two_places,
    per_linear,
    top_layer_params,
    whole_number,
)

_LORA_AUTO = ("q", "v")
_AUTO: Mapping[str, tuple[str, ...]] = {"ia3": ("k", "v", "down"), "beft": ("v",)}
# Methods whose modules follow from the method; adapters count for the linear layer that they come after.
_FIXED_ROLES: Mapping[str, tuple[str, ...]] = {
    "ff-lora": ("gate", "up", "down"), "ff-lora-adapter": ("gate", "up", "down", "o"), "adapter-houlsby": ("o", "down"),
    "compacter": ("o", "down"), "adapter-pfeiffer": ("down",), "adapter-parallel": ("down",), "mam": ("down",),
    "adapter-stack": ("down",), "adapter-fusion": ("down",),
}  # fmt: skip
_WITHOUT_LINEARS = frozenset({
    "full", "prompt-tuning", "prefix-tuning", "p-tuning", "llama-adapter", "layernorm-tuning", "bitfit",
    "layer-freezing",
})  # fmt: skip
_ADAPTERS = frozenset(
    {
        "adapter-houlsby", "adapter-pfeiffer", "adapter-parallel", "compacter", "mam", "ff-lora-adapter",
        "adapter-stack", "adapter-fusion",
    }
)  # fmt: skip


def target_linears(method: str, hyperparameters: Mapping[str, object], shape: Shape) -> tuple[tuple[Linear, int], ...]:
    """Return the linear layers that carry an adapter, with how often each occurs."""
    if method in _WITHOUT_LINEARS:
        return ()
    if has_two_places(method, hyperparameters):
        return _of_roles(_FIXED_ROLES["adapter-houlsby"], shape)
    if method in _FIXED_ROLES:
        return _of_roles(_FIXED_ROLES[method], shape)
    targets = hyperparameters.get("target_modules", "auto")
    if targets == "all-linear" or (method == "osf" and targets == "auto"):
        return shape.linears()
    if isinstance(targets, (list, tuple)):
        return _named(tuple(str(target) for target in targets), shape) or shape.linears()
    return _of_roles(_AUTO.get(method, _LORA_AUTO), shape)


def _of_roles(roles: Collection[str], shape: Shape) -> tuple[tuple[Linear, int], ...]:
    """Return the linear layers of these roles."""
    return tuple((linear, count) for linear, count in shape.linears() if linear.role in roles)


def trainable_params(
    method: str, hyperparameters: Mapping[str, object], model: BaseModel, head: Head, n_labels: int = 2
) -> int:
    """Return the number of trained parameters, the classification head included."""
    body = model.params if method == "full" else _adapter_params(method, hyperparameters, model, head)
    return body + (_head_params(model, n_labels) if head == "sequence-classification" else 0)


def _adapter_params(method: str, hyperparameters: Mapping[str, object], model: BaseModel, head: Head) -> int:
    shape = model.shape
    targets = target_linears(method, hyperparameters, shape)
    if method in LORA_FAMILY:
        rank = whole_number(hyperparameters, "r", 8)
        magnitude = 1 if method == "dora" or hyperparameters.get("use_dora") else 0
        return sum((rank * (one.inputs + one.outputs) + magnitude * one.outputs) * n for one, n in targets)
    if method == "ia3":
        return sum((one.inputs if one.role == "down" else one.outputs) * n for one, n in targets)
    if method == "bitfit":
        return bias_params(model)
    if method == "layer-freezing":
        return top_layer_params(hyperparameters, model)
    if method in _ADAPTERS:
        return bottleneck_params(method, hyperparameters, shape)
    if method == "llama-adapter":
        return shape.layers * (whole_number(hyperparameters, "adapter_len", 10) * shape.hidden + 1)
    if method == "layernorm-tuning":
        norms = 2 * shape.layers + 3 * shape.decoder_layers + (2 if shape.decoder_layers else 1)
        return norms * shape.hidden * (2 if shape.layernorm else 1)
    found = per_linear(method, hyperparameters, targets, model)
    return _soft_prompt_params(method, hyperparameters, shape, head) if found is None else found


def _soft_prompt_params(method: str, hyperparameters: Mapping[str, object], shape: Shape, head: Head) -> int:
    tokens = whole_number(hyperparameters, "num_virtual_tokens", 20)
    stacks = 2 if head == "seq2seq-lm" else 1  # PEFT learns one prompt for the encoder and one for the decoder
    if method == "prefix-tuning":
        layers = shape.decoder_layers or shape.layers  # on encoder-decoder models the decoder only (peft2026docs-012)
        return tokens * layers * 2 * shape.kv_size
    if method == "p-tuning":
        inner = whole_number(hyperparameters, "encoder_hidden_size", shape.hidden)
        mlp = shape.hidden * inner + inner + inner * inner + inner + inner * shape.hidden + shape.hidden
        return stacks * tokens * shape.hidden + mlp
    return stacks * tokens * shape.hidden


def _head_params(model: BaseModel, n_labels: int) -> int:
    """A dense layer and an output layer for encoders and encoder-decoders, one output layer for decoders."""
    hidden = model.shape.hidden
    dense = 0 if model.architecture == "decoder-only" else hidden * hidden + hidden
    return dense + hidden * n_labels


def _named(targets: tuple[str, ...], shape: Shape) -> tuple[tuple[Linear, int], ...]:
    """Match PEFT's module names to roles by their first letters ("q_proj", "query", "q" are queries)."""
    roles = {role for name in targets for role in _roles_of(name)}
    return tuple((linear, count) for linear, count in shape.linears() if linear.role in roles)


def _roles_of(name: str) -> tuple[str, ...]:
    last = name.rsplit(".", 1)[-1].lower()
    if last in ("c_attn", "qkv_proj", "query_key_value", "qkv"):
        return ("q", "k", "v")
    for role, starts in (
        ("gate", ("gate", "wi_0")), ("up", ("up", "fc1", "c_fc", "wi", "intermediate")),
        ("down", ("down", "fc2", "wo", "mlp.c_proj", "output")), ("q", ("q",)), ("k", ("k",)), ("v", ("v",)),
        ("o", ("o", "dense", "c_proj")),
    ):  # fmt: skip
        if last.startswith(starts):
            return (role,)
    return ()
