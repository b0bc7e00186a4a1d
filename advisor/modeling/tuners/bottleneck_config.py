"""Configurations of the bottleneck adapters: what PEFT saves as adapter_config.json."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from peft import PeftConfig
from transformers.activations import ACT2FN

from advisor.modeling.tuners.registration import peft_type

Placement = Literal["houlsby", "pfeiffer", "parallel"]
Initialization = Literal["near-identity", "normal", "zero-up"]


@dataclass
class BottleneckConfig(PeftConfig):
    """Bottleneck adapters, see `advisor.modeling.tuners.bottleneck`.

    Attributes:
        placement: After both sublayers ("houlsby"), after the feed-forward sublayer and its residual connection
            ("pfeiffer"), or beside the feed-forward sublayer ("parallel").
        reduction_factor: Hidden size over bottleneck size.
        non_linearity: Of the bottleneck, by transformers' name.
        scaling: What the adapter's output is multiplied by.
        init_weights: Truncated normal of standard deviation 0.01 ("near-identity"), normal of 0.02 ("normal"), or zero
            in the upper projection, so that training starts from the base model exactly ("zero-up").
        bottleneck_dropout: Of the adapter's output.
        cross_adapter: Whether "houlsby" has adapters after attention to the encoder as well.
        trained: Shapes of trained adapters that this one is composed of, which are saved with it.
        target_modules: Modules that carry adapters: follows from the placement and the base model.
        modules_to_save: Modules that are trained and saved with the adapter, such as the classification head.
        requires: What a process must import before it loads the adapter.
    """

    placement: Placement = field(default="houlsby")
    reduction_factor: float = field(default=16)
    non_linearity: str = field(default="silu")
    scaling: float = field(default=1.0)
    init_weights: Initialization = field(default="near-identity")
    bottleneck_dropout: float = field(default=0.0)
    cross_adapter: bool = field(default=False)
    trained: list[dict[str, Any]] = field(default_factory=list)
    target_modules: Any = field(default=None)
    modules_to_save: list[str] | None = field(default=None)
    requires: str = field(default="import advisor.modeling.tuners (pip install peft-advisor)")

    @property
    def multiple_of(self) -> int:
        """What the bottleneck size is a multiple of."""
        return 1

    @property
    def fuses(self) -> bool:
        """Whether trained adapters are weighed against each other instead of lying below this one."""
        return False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: One of them is out of range.
        """
        super().__post_init__()
        self.peft_type = peft_type("BOTTLENECK")
        if self.placement not in get_args(Placement):
            raise ValueError(f"placement {self.placement!r} is not one of {', '.join(get_args(Placement))}")
        if self.init_weights not in get_args(Initialization):
            raise ValueError(f"init_weights {self.init_weights!r} is not one of {', '.join(get_args(Initialization))}")
        if self.non_linearity not in ACT2FN:
            raise ValueError(f"non_linearity {self.non_linearity!r} is no activation of transformers")
        if not self.reduction_factor > 0:
            raise ValueError(f"reduction_factor {self.reduction_factor} must be positive")
        if not 0 <= self.bottleneck_dropout < 1:
            raise ValueError(f"bottleneck_dropout {self.bottleneck_dropout} must be at least 0 and less than 1")


@dataclass
class CompacterConfig(BottleneckConfig):
    """Compacter: bottleneck adapters whose projections are low-rank sums of Kronecker products.

    Attributes:
        phm_dim: n of the paper: terms of the sum; divides the hidden size, and the bottleneck size is a multiple of it.
        phm_rank: Rank of the factors that belong to a layer.
        shared_phm_rule: Whether all layers share the other factors, as in the paper.
    """

    reduction_factor: float = field(default=32)
    non_linearity: str = field(default="gelu")
    phm_dim: int = field(default=4)
    phm_rank: int = field(default=1)
    shared_phm_rule: bool = field(default=True)

    @property
    def multiple_of(self) -> int:
        """What the bottleneck size is a multiple of: the terms of the sum share it out."""
        return self.phm_dim

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: One of them is out of range.
        """
        super().__post_init__()
        self.peft_type = peft_type("COMPACTER")
        check_at_least_one(self, "phm_dim", "phm_rank")


def check_at_least_one(config: PeftConfig, *names: str) -> None:
    """Check whole numbers of a configuration that count something.

    Raises:
        ValueError: One of them is less than 1.
    """
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1")
