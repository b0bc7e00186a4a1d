"""Baselines that need no training: what a contender has to beat to be worth anything."""

import time
from collections.abc import Sequence
from pathlib import Path

from advisor.catalog.tasks import Task
from advisor.data.examples import Example, label_counts
from advisor.training.answers import class_names, expected_answers, label_set_text, measure_answers
from advisor.training.predictions import predictions_of, shown, write_predictions
from advisor.trial import Evaluation


def majority_class(
    task: Task, train: Sequence[Example], evaluated: Sequence[Example], *, predictions: Path | None = None
) -> Evaluation:
    """Evaluate the answer that is always the commonest label of the training split (of equals the first by order).

    Where an example has a set of labels, the answer is those that more than half of the training rows have, which may
    be none: what says right most often of every label.

    Args:
        task: A classification task.
        train: Training split.
        evaluated: Split to evaluate on.
        predictions: File to write as `TrialRunner.evaluate` does, or None.
    """
    started = time.perf_counter()
    expected, predicted = expected_answers(task, evaluated), [_commonest(task, train)] * len(evaluated)
    made = predictions_of(evaluated, predicted, expected=expected)
    if predictions is not None:
        write_predictions(made, predictions)
    return Evaluation(
        metrics=measure_answers(task, task.metrics, expected, predicted, label_names=class_names(task, train)),
        n_examples=len(evaluated),
        duration_s=time.perf_counter() - started,
        predictions=shown(made),
    )


def _commonest(task: Task, train: Sequence[Example]) -> str:
    counts = label_counts(train, task)
    if task.form == "multi-label":
        return label_set_text(label for label, count in counts.items() if 2 * count > len(train))
    return max(counts, key=lambda label: counts[label])  # max takes the first of equals
