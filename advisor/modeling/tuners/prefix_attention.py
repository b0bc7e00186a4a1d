"""Prefixes inside attention: keys and values of virtual tokens that every query sees.

Li and Liang 2021 (https://arxiv.org/abs/2101.00190): for each layer l, keys K_l and values V_l of shape (P, heads, head
size) stand before those of the text. They come from a small network, as in the paper,

    [K; V] = W₂ tanh(W₁ E + b₁) + b₂        E: (P, d), W₁: (m, d), W₂: (layers · 2 · heads · head size, m)

transformers asks a registry for the function that computes attention. The one here adds the prefix and hands on to the
function that the model used before, so every model that asks the registry can have prefixes, encoders too; PEFT's own
prefix tuning goes through the cache of keys and values. Keys are added after rotary positions were applied.

Not covered: attention that is computed without the registry (CodeGen, GPT-J, GPT-Neo), flash attention.
"""

import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from advisor.modeling.tuners.wrapping import WrappingLayer

NAME = "advisor-prefix"
_WITH_MASK = frozenset({"sdpa", "eager"})
# Keys and values, each of shape (P, heads · head size) or, where every row has its own, (batch, P, heads · head size).
Prefixes = Callable[[], list[tuple[torch.Tensor, torch.Tensor]]]


class PrefixBank(nn.Module):
    """Keys and values of one stack's prefixes."""

    def __init__(self, *, tokens: int, size: int, inner: int, layers: int, kv_size: int) -> None:
        """Draw the network.

        Args:
            tokens: P.
            size: d, of the embeddings E.
            inner: m, of the network.
            layers: Attention modules that get a prefix.
            kv_size: Heads of keys times their size.
        """
        super().__init__()
        self.layers, self.kv_size = layers, kv_size
        self.embedding = nn.Parameter(torch.empty(tokens, size).normal_())
        self.lower = nn.Linear(size, inner)
        self.upper = nn.Linear(inner, layers * 2 * kv_size)

    def forward(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values of one layer, shape (P, heads · head size) each."""
        inner = torch.tanh(self.lower(self.embedding))
        rows = slice(layer * 2 * self.kv_size, (layer + 1) * 2 * self.kv_size)
        keys, values = nn.functional.linear(inner, self.upper.weight[rows], self.upper.bias[rows]).chunk(2, dim=-1)
        return keys, values


class PrefixLayer(WrappingLayer):
    """An attention module with prefixes; the banks belong to the tuner."""

    adapter_layer_names = ()
    other_param_names = ("banks",)

    def __init__(self, base_layer: nn.Module) -> None:
        """Wrap an attention module and let it ask for prefixes."""
        super().__init__(base_layer)
        self.banks: dict[str, Callable[[], tuple[torch.Tensor, torch.Tensor]]] = {}
        give_prefixes(base_layer, self.prefix)

    def update_layer(self, name: str, bank: Callable[[], tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Give the layer the prefix of an adapter."""
        self.banks[name] = bank

    def prefix(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return keys and values of the active adapters, each of shape (P, heads · head size)."""
        if self.disable_adapters:
            return []
        return [self.banks[name]() for name in self.active_adapters if name in self.banks]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute attention; the prefix is added inside."""
        return self.base_layer(*args, **kwargs)

    def restore(self) -> None:
        """Give the attention module its own function again."""
        attention: Any = self.base_layer
        attention.config._attn_implementation = attention.prefix_inner
        del attention.prefix_inner, attention.prefix_of


def give_prefixes(attention: Any, prefixes: Prefixes) -> None:
    """Let an attention module see prefixes.

    Args:
        attention: Module that asks the registry of transformers.
        prefixes: Called in each pass; what comes first stands furthest from the text.

    Raises:
        ValueError: The model computes attention in a way that takes no masks.
    """
    inner = attention.config._attn_implementation
    if inner not in _WITH_MASK:
        raise ValueError(f"prefixes do not work with {inner} attention; load the base model with sdpa or eager")
    # The model keeps its own configuration, from which the masks are made.
    attention.config = copy.copy(attention.config)
    attention.config._attn_implementation = NAME
    attention.prefix_inner = inner
    attention.prefix_of = prefixes


def prefix_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> Any:
    """Compute attention with the module's prefixes before its keys and values.

    Args:
        module: Attention module of a transformers model.
        query: (batch, heads, queries, head size).
        key: (batch, heads of keys, keys, head size).
        value: As `key`.
        attention_mask: Of bool (True is seen) or added to the scores, (batch or 1, heads or 1, queries or 1, keys);
            None for none, or for a causal one in a causal module.
        kwargs: Passed on.

    Returns:
        What the function that the model used before returns.
    """
    attend = _inner(module)
    prefixes = module.prefix_of()
    if not prefixes:
        return attend(module, query, key, value, attention_mask, **kwargs)
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    n_queries, n_keys = query.shape[2], key.shape[2]
    if attention_mask is None and causal and n_queries > 1:
        # Without a mask the causal one would be laid over prefix and text together.
        attention_mask = torch.ones(n_queries, n_keys, dtype=torch.bool, device=query.device).tril()[None, None]
    n_prefix = sum(keys.shape[-2] for keys, _ in prefixes)
    if attention_mask is not None:
        shown = True if attention_mask.dtype == torch.bool else 0.0
        attention_mask = nn.functional.pad(attention_mask[..., :n_keys], (n_prefix, 0), value=shown)
    bias = kwargs.get("position_bias")
    if bias is not None:
        kwargs = {**kwargs, "position_bias": nn.functional.pad(bias, (n_prefix, 0), value=0.0)}
    key = torch.cat([*(_spread(keys, key) for keys, _ in prefixes), key], dim=2)
    value = torch.cat([*(_spread(values, value) for _, values in prefixes), value], dim=2)
    return attend(module, query, key, value, attention_mask, **kwargs)


def _spread(prefix: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return (P, heads · size), or as much for each row, as (batch, heads, P, size)."""
    batch, heads, _, size = like.shape
    rows = prefix if prefix.ndim == 3 else prefix[None]
    return rows.to(like).unflatten(-1, (heads, size)).transpose(1, 2).expand(batch, -1, -1, -1)


def _inner(module: Any) -> Callable[..., Any]:
    default: Callable[..., Any] = vars(sys.modules[type(module).__module__])["eager_attention_forward"]
    found: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(module.prefix_inner, default)
    return found


AttentionInterface.register(NAME, prefix_attention)
