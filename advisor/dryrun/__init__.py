"""The training step without data or device: memory and time of the real model on the meta device."""

from advisor.dryrun.estimate import DryRun, estimate_workload
from advisor.dryrun.question import Answer, Question, answer
from advisor.dryrun.workload import Workload

__all__ = ["Answer", "DryRun", "Question", "Workload", "answer", "estimate_workload"]
