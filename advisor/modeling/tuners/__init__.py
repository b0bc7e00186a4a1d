"""Methods that PEFT does not ship, as PEFT tuners: importing this module makes them known to PEFT.

`get_peft_model`, `save_pretrained` and `from_pretrained` then work as for PEFT's own. Only PEFT, torch and transformers
are needed.
"""

from advisor.modeling.tuners.bitfit import BitFitConfig, BitFitModel
from advisor.modeling.tuners.bottleneck_config import BottleneckConfig, CompacterConfig
from advisor.modeling.tuners.bottleneck_model import BottleneckModel, CompacterModel
from advisor.modeling.tuners.composed_model import (
    AdapterFusionConfig,
    AdapterFusionModel,
    AdapterStackConfig,
    AdapterStackModel,
)
from advisor.modeling.tuners.hybrid import FeedForwardLoraConfig, FeedForwardLoraModel, MamConfig, MamModel
from advisor.modeling.tuners.registration import register

__all__ = [
    "AdapterFusionConfig", "AdapterFusionModel", "AdapterStackConfig", "AdapterStackModel", "BitFitConfig",
    "BitFitModel", "BottleneckConfig", "BottleneckModel", "CompacterConfig", "CompacterModel",
    "FeedForwardLoraConfig", "FeedForwardLoraModel", "MamConfig", "MamModel",
]  # fmt: skip

register("bottleneck", BottleneckConfig, BottleneckModel)
register("compacter", CompacterConfig, CompacterModel)
register("bitfit", BitFitConfig, BitFitModel)
register("mam", MamConfig, MamModel)
register("ff_lora_adapter", FeedForwardLoraConfig, FeedForwardLoraModel)
register("adapter_stack", AdapterStackConfig, AdapterStackModel)
register("adapter_fusion", AdapterFusionConfig, AdapterFusionModel)
