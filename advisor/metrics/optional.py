"""Libraries that only some metrics need: imported on first use, and one line when they are missing."""

import importlib
from types import ModuleType

from advisor.catalog.tasks import Metric
from advisor.errors import InputError


def library(module: str, *, metric: Metric, install: str) -> ModuleType:
    """Import a module that a metric needs.

    Args:
        module: Its import name.
        metric: The metric, for the message.
        install: What pip is told to install.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or module).split(".")[0]
        raise InputError(f"metric {metric}: needs {missing!r}; install it with `pip install {install}`") from error
