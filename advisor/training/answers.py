"""Answers as text, whatever the form of a task, and what they are worth.

All that predicts says one text per example, which is also what a prediction file keeps. A class is its name and a
generated text is itself; a set of labels is a JSON list of them in the order of `data.examples.label_order`, so that
equal sets are equal texts, no label can be mistaken for two, and a set without labels can be seen: `[]`. The answer to
a query of code search is the ranks at which the right code was found, also as a JSON list, and what is expected are the
first ranks.

Metrics are loaded when they are asked for: whoever only trains and predicts needs none of their libraries.
"""

import json
from collections.abc import Iterable, Sequence

from advisor.catalog.tasks import Metric, Task
from advisor.data.examples import Example, label_counts, label_order
from advisor.errors import DataError, printable
from advisor.metrics.retrieval import QueryRanks, measure_ranking, ranking_statistics
from advisor.metrics.statistics import ExampleStatistics


def class_names(task: Task, train: Iterable[Example]) -> tuple[str, ...]:
    """Return the labels of the training split, the position being the class id; empty where nothing is classified."""
    return () if task.form == "retrieval" else tuple(label_counts(train, task))


def expected_answers(task: Task, examples: Iterable[Example]) -> list[str]:
    """Return what a model should say for each example; for code search `Resident.expected` knows."""
    if task.form == "multi-label":
        return [label_set_text(example.labels) for example in examples]
    return [example.target for example in examples]


def label_set_text(labels: Iterable[str]) -> str:
    """Return a set of labels as text."""
    return json.dumps(label_order(set(labels)), ensure_ascii=False)


def label_set_of(text: str) -> frozenset[str]:
    """Return the labels that `label_set_text` wrote.

    Raises:
        DataError: The text is not a list of labels.
    """
    try:
        labels = json.loads(text)
    except ValueError:
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f'{printable(text, 60)}: is not a set of labels; expected a JSON list such as [] or ["a"]')
    return frozenset(labels)


def ranks_text(ranks: Iterable[int]) -> str:
    """Return the ranks of right answers as text; the best is 1."""
    return json.dumps(sorted(ranks))


def query_ranks(expected: str, predicted: str) -> QueryRanks:
    """Return what metrics need to know of a query.

    Raises:
        DataError: A text is not what `ranks_text` returns.
    """
    best, found = (_ranks_of(text) for text in (expected, predicted))
    return QueryRanks(ranks=found, n_relevant=len(best))


def measure_answers(
    task: Task,
    metrics: Sequence[Metric],
    expected: Sequence[str],
    predicted: Sequence[str],
    *,
    label_names: Sequence[str] = (),
) -> dict[str, float]:
    """Return the value of each metric.

    Args:
        task: Says what the answers are.
        metrics: Of such answers, in the order wanted.
        expected: What `expected_answers` returned.
        predicted: As many answers.
        label_names: All classes in the order of their ids; empty for generation.

    Raises:
        DataError: An answer is not a set of labels although the task is about these.
        InputError: A library that a metric needs is not installed.
        ValueError: A metric of another kind, an unknown label, or not as many predictions.
    """
    from advisor.metrics.label_sets import measure_label_sets
    from advisor.metrics.measure import measure

    if task.form == "multi-label":
        return measure_label_sets(metrics, _sets(expected), _sets(predicted), label_names)
    if task.form == "retrieval":
        return measure_ranking(metrics, _queries(expected, predicted))
    return measure(metrics, expected, predicted, label_names=label_names)


def answer_statistics(
    task: Task, metric: Metric, expected: Sequence[str], predicted: Sequence[str], *, label_names: Sequence[str] = ()
) -> ExampleStatistics:
    """Return the statistics whose sums give what `measure_answers` gives.

    Args:
        task: As for `measure_answers`, as are the others.
        metric: Of such answers.
        expected: One per example.
        predicted: As many.
        label_names: All classes; those that `occurring_labels` returns, where they are not known.

    Raises:
        DataError, InputError, ValueError: As `measure_answers`.
    """
    from advisor.metrics.label_sets import label_set_statistics
    from advisor.metrics.measure import statistics_of

    if task.form == "multi-label":
        return label_set_statistics(metric, _sets(expected), _sets(predicted), label_names)
    if task.form == "retrieval":
        return ranking_statistics(metric, _queries(expected, predicted))
    return statistics_of(metric, expected, predicted, label_names=label_names)


def occurring_labels(task: Task, answers: Iterable[str]) -> tuple[str, ...]:
    """Return the labels that some answers name, in their order; where answers are no labels, the answers."""
    if task.form == "multi-label":
        return label_order({label for labels in _sets(answers) for label in labels})
    return label_order(set(answers))


def _sets(answers: Iterable[str]) -> list[frozenset[str]]:
    return [label_set_of(text) for text in answers]


def _queries(expected: Sequence[str], predicted: Sequence[str]) -> list[QueryRanks]:
    return [query_ranks(best, found) for best, found in zip(expected, predicted, strict=True)]


def _ranks_of(text: str) -> tuple[int, ...]:
    try:
        ranks = json.loads(text)
    except ValueError:
        ranks = None
    if not isinstance(ranks, list) or not all(type(rank) is int and rank > 0 for rank in ranks):
        raise DataError(f"{printable(text, 60)}: are not ranks; expected a JSON list such as [1, 4]")
    return tuple(ranks)
