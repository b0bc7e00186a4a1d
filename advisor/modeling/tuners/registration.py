"""PEFT's registry, and the one thing it lacks: a way to name a method that PEFT does not ship.

`peft.utils.register_peft_method` takes configuration and model of a method, but only for members of the enumeration
`PeftType`, which is closed. A member is added here the way `enum` itself keeps them.
"""

from typing import Any

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import PeftType, register_peft_method


def peft_type(name: str) -> PeftType:
    """Return the member of `PeftType` of that name, which is added where it is missing.

    Args:
        name: In capitals, such as "BOTTLENECK".
    """
    if name in PeftType.__members__:
        return PeftType[name]
    member = str.__new__(PeftType, name)
    member._name_ = name
    member._value_ = name
    registry: Any = PeftType
    registry._member_map_[name] = member
    registry._member_names_.append(name)
    registry._value2member_map_[name] = member
    return member


def register(name: str, config: type[PeftConfig], model: type[BaseTuner]) -> None:
    """Make a method known to PEFT, so that `get_peft_model`, saving and loading work as for its own.

    Args:
        name: In small letters; `PeftType` has it in capitals.
        config: Its configuration.
        model: Its tuner; the prefix of its parameters is `model.prefix`.
    """
    peft_type(name.upper())
    register_peft_method(name=name, config_cls=config, model_cls=model, prefix=model.prefix, is_mixed_compatible=False)
