"""What all tests share: nothing of the user's own data is read or written, and no test leaves a log behind."""

import logging
import os
import tempfile
from collections.abc import Iterator

import pytest

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
