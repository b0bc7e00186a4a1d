"""Baselines that need no training: what a contender has to beat to be worth anything."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from advisor.catalog.tasks import Task
from advisor.training.examples import Example, label_names
from advisor.training.metrics import measure
from advisor.training.predictions import predictions_of, shown, write_predictions
from advisor.trial import Evaluation


def majority_class(
    task: Task, train: Sequence[Example], evaluated: Sequence[Example], *, predictions: Path | None = None
) -> Evaluation:
    """Evaluate the answer that is always the commonest label of the training split (of equals the first by order).

    Args:
        task: A classification task.
        train: Training split.
        evaluated: Split to evaluate on.
        predictions: File to write as `TrialRunner.evaluate` does, or None.
    """
    started = time.perf_counter()
    names = label_names(train)
    counts = Counter(example.target for example in train)
    commonest = max(names, key=lambda name: counts[name])  # max takes the first of equals
    made = predictions_of(evaluated, [commonest] * len(evaluated))
    if predictions is not None:
        write_predictions(made, predictions)
    expected = [example.target for example in evaluated]
    return Evaluation(
        metrics=measure(task.metrics, expected, [commonest] * len(evaluated), label_names=names),
        n_examples=len(evaluated),
        duration_s=time.perf_counter() - started,
        predictions=shown(made),
    )
