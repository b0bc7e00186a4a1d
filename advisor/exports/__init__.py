"""Files that make other programs train a candidate: scripts and configurations under their own names.

What a program cannot express is said in a comment of its file. Nothing is trained or loaded here.
"""

from advisor.exports.plan import ExportPlan, read_plan
from advisor.exports.targets import MERGED, TARGETS, Target, export, find_target

__all__ = ["MERGED", "TARGETS", "ExportPlan", "Target", "export", "find_target", "read_plan"]
