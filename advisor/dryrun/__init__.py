"""The training step without data or device: memory and time of the real model on the meta device.

The names below are loaded on first use: a question can be asked, and refused, without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from advisor.dryrun.answers import Answer as Answer
    from advisor.dryrun.answers import answer as answer
    from advisor.dryrun.estimate import DryRun as DryRun
    from advisor.dryrun.estimate import estimate_workload as estimate_workload
    from advisor.dryrun.question import Question as Question
    from advisor.dryrun.workload import Workload as Workload

_HOME = {
    "Answer": "advisor.dryrun.answers",
    "DryRun": "advisor.dryrun.estimate",
    "Question": "advisor.dryrun.question",
    "Workload": "advisor.dryrun.workload",
    "answer": "advisor.dryrun.answers",
    "estimate_workload": "advisor.dryrun.estimate",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'advisor.dryrun' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
