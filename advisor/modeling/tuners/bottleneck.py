"""Bottleneck adapters as a PEFT tuner: Houlsby, Pfeiffer and parallel.

With hidden size d and bottleneck size m = d / reduction_factor, an adapter is

    A(x) = s · U f(D x + b) + s · c        x: (batch, tokens, d), D: (m, d), b: (m), U: (d, m), c: (d)

where f is a non-linearity and s a scaling. With h the output of a sublayer and x its input on the residual stream, so
that the stream becomes x + h, or N(x + h) in post-norm models:

- houlsby (Houlsby et al. 2019, https://arxiv.org/abs/1902.00751): after attention and after feed-forward, h + A(h)
  takes the place of h.
- pfeiffer (Pfeiffer et al. 2021, https://arxiv.org/abs/2005.00247): after feed-forward, x + h + A(x + h) takes the
  place of x + h; in post-norm models N(x + h + A(N(x + h))) that of N(x + h).
- parallel (He et al. 2022, https://arxiv.org/abs/2110.04366): h + A(z) takes the place of h = FFN(z), with z the input
  of the feed-forward sublayer.

Defaults are those of the AdapterHub library (https://docs.adapterhub.ml/methods.html), but that Houlsby's adapters
start near the identity as in the paper (truncated normal, standard deviation 0.01). `studies/adapterhub_agreement`
compares the two.

Several active adapters are stacked in their order, as task adapters on language adapters are in MAD-X (Pfeiffer et al.
2020, https://arxiv.org/abs/2005.00052). As in the AdapterHub library each changes what the one below it left; in the
paper's equation the upper one's residual is that before both.

Deviation: dropout of the base model between a sublayer's last linear layer and the residual stream comes after a
Houlsby or parallel adapter, not before it (a module of its own in BERT, but a function call in BART and GPT-2).
Bottleneck adapters are not linear, so they cannot be merged into the weights.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN

from advisor.modeling.tuners.bottleneck_config import BottleneckConfig, Initialization
from advisor.modeling.tuners.composition import Fusion, TrainedAdapter, bottleneck_size
from advisor.modeling.tuners.wrapping import WrappingLayer

# Standard deviations of `Initialization`; Houlsby et al. cut theirs off at two of them.
_NEAR_IDENTITY_STD = 0.01
_NORMAL_STD = 0.02


class BottleneckLayer(WrappingLayer):
    """A module of the base model with adapters after it, `h + A(h)`."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up", "bottleneck_trained", "bottleneck_fusion")
    other_param_names = ("bottleneck_scaling", "bottleneck_dropout", "non_linearities")

    def __init__(self, base_layer: nn.Module, size: int) -> None:
        """Wrap a module without an adapter yet.

        Args:
            base_layer: The module.
            size: Hidden size d.
        """
        super().__init__(base_layer)
        self.size = size
        self.bottleneck_down = nn.ModuleDict()
        self.bottleneck_up = nn.ModuleDict()
        self.bottleneck_dropout = nn.ModuleDict()
        # Of adapters that are composed of trained ones: those, frozen, and what weighs them.
        self.bottleneck_trained = nn.ModuleDict()
        self.bottleneck_fusion = nn.ModuleDict()
        self.bottleneck_scaling: dict[str, float] = {}
        self.non_linearities: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}

    def update_layer(self, name: str, config: BottleneckConfig, make_linear: Callable[..., nn.Module]) -> None:
        """Add an adapter.

        Args:
            name: Of the adapter.
            config: Its configuration.
            make_linear: Called with numbers of inputs and outputs, returns a projection.
        """
        if config.trained:
            shapes = [TrainedAdapter(self.size, **shape) for shape in config.trained]
            self.bottleneck_trained[name] = nn.ModuleList(shapes)
            # PEFT makes all that belongs to an active adapter trainable, but for what stands here.
            self.frozen_peft_weight_names = {**self.frozen_peft_weight_names, name: ("bottleneck_trained",)}
        if config.fuses:
            self.bottleneck_fusion[name] = Fusion(self.size)
        else:
            inner = bottleneck_size(self.size, config.reduction_factor, config.multiple_of)
            self.bottleneck_down[name] = make_linear(self.size, inner)
            self.bottleneck_up[name] = make_linear(inner, self.size)
            self.bottleneck_dropout[name] = nn.Dropout(config.bottleneck_dropout)
            self.bottleneck_scaling[name] = config.scaling
            self.non_linearities[name] = ACT2FN[config.non_linearity]
            if make_linear is nn.Linear:
                initialise(self.bottleneck_down[name], self.bottleneck_up[name], config.init_weights)
        self._follow_base_layer(name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _follow_base_layer(self, name: str) -> None:
        """Bring an adapter to the device and floating-point type of the wrapped module."""
        place = next(self.base_layer.parameters(), None)
        if place is None or place.device.type == "meta":
            return
        for parts in (getattr(self, attribute) for attribute in self.adapter_layer_names):
            if name in parts:
                parts[name].to(place.device, place.dtype if place.dtype.is_floating_point else None)

    @property
    def chain(self) -> list[Callable[[torch.Tensor], torch.Tensor]]:
        """A of each active adapter, the lowest first; none while adapters are disabled."""
        if self.disable_adapters:
            return []
        return [change for name in self.active_adapters for change in self._changes_of(name)]

    def trained_of(self, name: str) -> list[nn.Module]:
        """Return the trained adapters that an adapter is composed of, the lowest first."""
        return list(self.bottleneck_trained[name].children()) if name in self.bottleneck_trained else []

    def _changes_of(self, name: str) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        if name in self.bottleneck_fusion:
            yield partial(self._fused, name)
            return
        yield from self.trained_of(name)
        if name in self.bottleneck_down:
            yield partial(self._change, name)

    def _change(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        """Return A(x) of an adapter; x has shape (..., d)."""
        down, up = self.bottleneck_down[name], self.bottleneck_up[name]
        # What a whole layer gives may be on the device of the next one already (`modeling.spreading`).
        # Its weights may be made of a matrix that all layers share, wherever that is: the bias is its own.
        bias = down.get_parameter("bias")
        cast = self._cast_input_dtype(hidden.to(bias.device), bias.dtype)
        out = up(self.non_linearities[name](down(cast))) * self.bottleneck_scaling[name]
        changed: torch.Tensor = self.bottleneck_dropout[name](out)
        return changed.to(hidden)

    def _fused(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        """Return what fused adapters make of x together."""
        values = torch.stack([adapter(hidden) for adapter in self.trained_of(name)], dim=-2)
        fused: torch.Tensor = self.bottleneck_fusion[name](hidden, values)
        return fused

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return h + A(h), where h may be the first of several outputs."""
        returned = self.base_layer(*args, **kwargs)
        if isinstance(returned, tuple):
            return (self.added(returned[0]), *returned[1:])
        return self.added(returned)

    def added(self, out: torch.Tensor) -> torch.Tensor:
        """Return h with what the adapters add to it."""
        for change in self.chain:
            out = out + change(out)
        return out

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Refuse: the change is not linear.

        Raises:
            ValueError: Always.
        """
        raise ValueError("bottleneck adapters are not linear and cannot be merged into the weights")

    def unmerge(self) -> None:
        """Do nothing: nothing was ever merged."""


class BesideLayer(BottleneckLayer):
    """The last module of a feed-forward sublayer with adapters beside the whole, `h + A(z)`."""

    def __init__(self, base_layer: nn.Module, size: int, first: nn.Module, reads: str) -> None:
        """Wrap it.

        Args:
            base_layer: Last module of the sublayer.
            size: Hidden size d.
            first: First module of the sublayer; `base_layer` itself where one module is the whole.
            reads: Name of that module in the model.
        """
        super().__init__(base_layer, size)
        self.reads = reads
        self.entered: torch.Tensor | None = None
        self.watch = first.register_forward_pre_hook(self._remember, with_kwargs=True)

    def _remember(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.chain:
            self.entered = args[0] if args else kwargs["hidden_states"]

    def added(self, out: torch.Tensor) -> torch.Tensor:
        """Return h with A(z) of each adapter, side by side."""
        # Forgotten at once: it is as large as the activations of a layer.
        entered, self.entered = self.entered, None
        for change in self.chain:
            assert entered is not None, "the sublayer gave an output before it was given an input"
            out = out + change(entered)
        return out


class NormLayer(BottleneckLayer):
    """The normalisation N of a post-norm layer, with adapters around it: `N(x + h + A(N(x + h)))`."""

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the normalised sum."""
        (total,) = args or kwargs.values()
        out: torch.Tensor = self.base_layer(self.summed(total, self.base_layer))
        return out

    def summed(self, total: torch.Tensor, norm: nn.Module) -> torch.Tensor:
        """Return x + h with what the adapters add to it; they read N(x + h)."""
        for change in self.chain:
            total = total + change(norm(total))
        return total


def initialise(down: nn.Module, up: nn.Module, how: Initialization) -> None:
    """Draw the weights of two projections.

    Args:
        down: D, b.
        up: U, c.
        how: See `BottleneckConfig`.
    """
    assert isinstance(down, nn.Linear)
    assert isinstance(up, nn.Linear)
    for layer in (down, up):
        nn.init.zeros_(layer.bias)
        if how == "near-identity":
            cut = 2 * _NEAR_IDENTITY_STD
            nn.init.trunc_normal_(layer.weight, std=_NEAR_IDENTITY_STD, a=-cut, b=cut)
        elif how == "normal":
            nn.init.normal_(layer.weight, std=_NORMAL_STD)
    if how == "zero-up":
        # He et al. start as LoRA does: PyTorch's own draw below, nothing above.
        nn.init.zeros_(up.weight)
