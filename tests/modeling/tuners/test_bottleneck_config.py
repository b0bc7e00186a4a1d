"""Configurations of adapters refuse numbers that count something and are less than one."""

import pytest

from advisor.modeling.tuners import CompacterConfig, FeedForwardLoraConfig, MamConfig


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (CompacterConfig, "phm_dim"),
        (CompacterConfig, "phm_rank"),
        (MamConfig, "num_prefix_tokens"),
        (MamConfig, "prefix_hidden_size"),
        (FeedForwardLoraConfig, "r"),
        (FeedForwardLoraConfig, "lora_alpha"),
    ],
)
def test_a_number_below_one_is_refused_by_its_name(config: type, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be at least 1$"):
        config(**{name: 0})
    assert getattr(config(**{name: 1}), name) == 1
