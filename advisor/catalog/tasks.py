"""Software-engineering tasks: what their examples look like and how they are scored."""

from dataclasses import dataclass
from typing import Literal

from advisor.errors import UnknownNameError
from advisor.spec import Architecture

Form = Literal["pair", "single", "multi-label", "generation", "retrieval"]
Head = Literal["sequence-classification", "causal-lm", "seq2seq-lm"]
Metric = Literal["f1", "accuracy", "mcc", "bleu", "rouge-l", "exact-match", "chrf", "mrr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of the catalogue.

    Attributes:
        slug: Name used everywhere, as in `knowledge/evidence.jsonl`.
        title: Name for people.
        kind: Does it produce text or a label?
        form: Fields of an example: "pair" code1, code2, label; "single" code, label; "multi-label" code,
            labels; "generation" source, target; "retrieval" query, code, label.
        metrics: Metric names, the primary one first (all are better when higher).
        instruction: What a decoder is told before the source; empty for classification.
        max_seq_length: Sensible number of source tokens.
        max_target_length: Sensible number of target tokens; 0 for classification.
        tunable: Whether `tune` offers it yet.
    """

    slug: str
    title: str
    kind: Literal["generative", "non-generative"]
    form: Form
    metrics: tuple[Metric, ...]
    instruction: str = ""
    max_seq_length: int = 512
    max_target_length: int = 0
    tunable: bool = True

    @property
    def primary_metric(self) -> Metric:
        """What the search maximises."""
        return self.metrics[0]


def head_of(task: Task, architecture: Architecture) -> Head:
    """Return the task head that a base model of this architecture gets for this task.

    Raises:
        UnknownNameError: Never; an encoder-only model cannot generate and is refused by `candidates`.
    """
    if task.kind == "non-generative":
        return "sequence-classification"
    return "seq2seq-lm" if architecture == "encoder-decoder" else "causal-lm"


def find_task(slug: str) -> Task:
    """Return the task of that slug.

    Raises:
        UnknownNameError: No such task; the message has the nearest names.
    """
    if slug not in TASKS:
        raise UnknownNameError("task", slug, TASKS, "see `peft-advisor evidence --tasks`")
    return TASKS[slug]


TASKS: dict[str, Task] = {
    task.slug: task
    for task in (
        Task(
            slug="clone-detection", title="Code clone detection", kind="non-generative", form="pair",
            metrics=("f1", "accuracy"),
        ),
        Task(
            slug="code-summarization", title="Code summarization", kind="generative", form="generation",
            metrics=("bleu", "rouge-l"), instruction="Summarize this function in one sentence.",
            max_seq_length=256, max_target_length=64,
        ),
    )
}
