"""What all tests share: nothing of the user's own data is read or written, and no test leaves a log behind."""

import gc
import logging
import os
import tempfile
from collections.abc import Iterator
from unittest.mock import patch

import pytest

thaw = gc.unfreeze

# Set before anything is imported, and handed on to the processes that tests start.
os.environ["PEFT_ADVISOR_DATA"] = tempfile.mkdtemp(prefix="peft-advisor-tests-")


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """`--quiet` and `--verbose` are set for the rest of a process, which for a command is its end."""
    logger = logging.getLogger("advisor")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(autouse=True, scope="session")
def collections_look_at_little() -> Iterator[None]:
    """Loading a base model thaws all objects of the process, so that every collection after it looks at them.

    A process has done that once or twice in its life; here it would be thousands of times, and half of the time that
    all tests take. A test that is about what is collected takes `thaw`.
    """
    with patch.object(gc, "unfreeze", lambda: None):
        yield


@pytest.fixture(autouse=True)
def collected_after_each_test() -> Iterator[None]:
    """What is left then, libraries and caches, is there to stay."""
    yield
    gc.collect()
    gc.freeze()
