"""Keeps libraries from writing to the terminal while they do what was asked of them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence progress bars, logs below errors and Python warnings of transformers and PEFT within the block.

    They report what is expected here: a classification head that starts untrained, position ids that a method
    does not use, deprecations inside the libraries. What matters is checked and raised by our own code.
    """
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
