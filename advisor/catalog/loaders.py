"""What a process needs to load what a method trained: PEFT does not ship all methods, and a whole model needs none."""

from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.catalog.methods import METHODS

_WITH_OWN_TUNERS = "PEFT and the tuners of peft-advisor (pip install peft-advisor; import advisor.modeling.tuners)"


def needs_own_tuners(method: str) -> bool:
    """Must `advisor.modeling.tuners` be imported before PEFT loads an adapter of this method?

    Args:
        method: Slug; one that the catalogue does not have is taken for one of PEFT's.
    """
    return method in METHODS and METHODS[method].peft_type in OWN_PEFT_TYPES


def loaders_of(method: str) -> str:
    """Return what loads a saved adapter of a method, for people: "PEFT alone" for those that PEFT ships.

    Args:
        method: Slug, as for `needs_own_tuners`.
    """
    if method == "full":
        return "transformers alone"
    return _WITH_OWN_TUNERS if needs_own_tuners(method) else "PEFT alone"
