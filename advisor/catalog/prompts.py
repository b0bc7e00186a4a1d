"""What a decoder reads before it answers: instruction, source, and a mark after which the answer begins.

A plain template for base models. Chat templates of instruction-tuned models are not covered.
"""

from dataclasses import dataclass

from advisor.catalog.tasks import Task

# Code models have read countless functions with a comment beside them, so an answer in prose goes into a comment.
_ANSWERS_IN_PROSE = frozenset({"code-summarization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Text around the source.

    Attributes:
        before: Comes before the source.
        after: Comes between source and answer.
    """

    before: str
    after: str


def prompt_of(task: Task) -> Prompt:
    """Return the template of a generative task."""
    before = f"# {task.instruction}\n" if task.instruction else ""
    return Prompt(before=before, after="\n# " if task.slug in _ANSWERS_IN_PROSE else "\n\n### Answer:\n")
