"""Metrics as they can be taken on resamples, made from the predictions that a run folder keeps.

A file of predictions says one text for each example: the name of a class or a generated text is itself, a set of labels
is a JSON list of them, and so are the ranks at which a search found what is right.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.catalog.tasks import Metric, Task
from advisor.errors import AdvisorError
from advisor.metrics.areas import AREAS, Areas
from advisor.metrics.class_scores import SCORE_METRICS, top_k_statistics
from advisor.metrics.retrieval import QueryRanks, ranking_statistics
from advisor.metrics.statistics import Numbers, Resampled
from advisor.result import TuningResult
from advisor.trial import Prediction

# Of each seed of a contender (or of the one evaluation of a baseline) the predictions for the whole split.
Made = tuple[tuple[Prediction, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanOfSeeds:
    """A metric as the mean over several runs on the same examples; implements `Resampled`."""

    of_seeds: tuple[Resampled, ...]

    @property
    def n_examples(self) -> int:
        """How many examples there are."""
        return self.of_seeds[0].n_examples

    def on(self, counts: Numbers) -> Numbers:
        """Return the mean over seeds on each resample, shape (resamples,)."""
        mean: Numbers = np.mean([one.on(counts) for one in self.of_seeds], axis=0)
        return mean


def sample_of(task: Task, metric: Metric, made: Made, label_names: Sequence[str]) -> Resampled | None:
    """Return what takes a metric of one contender on resamples, over its seeds the mean.

    Args:
        task: What was predicted.
        metric: Its name.
        made: Predictions of each seed.
        label_names: What `label_names_of` returned.

    Returns:
        None where the predictions are none of this task, or lack what the metric needs.
    """
    of_seeds = tuple(one for items in made if (one := _statistics(task, metric, items, label_names)) is not None)
    if len(of_seeds) < len(made):
        return None
    return of_seeds[0] if len(of_seeds) == 1 else MeanOfSeeds(of_seeds=of_seeds)


def label_names_of(task: Task, result: TuningResult, made: Mapping[str, Made]) -> tuple[str, ...]:
    """Return the classes of the training split in their order, then others that were said; empty without classes."""
    if task.form in ("generation", "retrieval"):
        return ()
    known = tuple(result.data["train"].label_counts) if "train" in result.data else ()
    # Without the classes of training what is expected has to do; with them it may be what no model can say.
    texts = {
        text
        for kept in made.values()
        for items in kept
        for one in items
        for text in ((one.predicted,) if known else (one.expected, one.predicted))
    }
    occurring: Iterable[str] = texts
    if task.form == "multi-label":
        occurring = {label for text in texts for label in _listed(text, strict=False)}
    return (*known, *sorted({*occurring} - {*known}))


def score_statistics(metric: Metric, items: Sequence[Prediction], label_names: Sequence[str]) -> Resampled:
    """Return what takes a metric of scores on resamples.

    Args:
        metric: Of `SCORE_METRICS`.
        items: Predictions of a classifier, with their scores.
        label_names: Classes in the order of their ids; an expected label may be none of them.

    Raises:
        ValueError: A prediction has no scores or not one of each class, or no expected label is a class.
    """
    number = {label: position for position, label in enumerate(label_names)}
    kept = [item.scores for item in items if item.scores is not None]
    expected = [number.get(item.expected, -1) for item in items]
    n_columns = 1 if len(label_names) == 2 else len(label_names)
    if len(kept) < len(items) or max(expected, default=-1) < 0 or {*map(len, kept)} != {n_columns}:
        raise ValueError("predictions lack scores, or are of other classes")
    classes, scores = np.array(expected, dtype=np.intp), np.array(kept)
    if metric in AREAS:
        return Areas(metric=metric, classes=classes, scores=scores)
    return top_k_statistics(classes, scores, 5)


def _statistics(task: Task, metric: Metric, items: Sequence[Prediction], labels: Sequence[str]) -> Resampled | None:
    """Return what takes a metric on resamples, None where the predictions are none of this task."""
    # Their libraries take a second to import, which a page without predictions need not wait for.
    from advisor.metrics.label_sets import label_set_statistics
    from advisor.metrics.measure import statistics_of
    from advisor.metrics.programs import PROGRAM_METRICS, program_statistics

    expected, predicted = [item.expected for item in items], [item.predicted for item in items]
    try:
        if metric in PROGRAM_METRICS:
            return program_statistics(metric, [item.is_right for item in items])
        if metric in SCORE_METRICS:
            return score_statistics(metric, items, labels)
        if task.form == "multi-label":
            return label_set_statistics(metric, [*map(_listed, expected)], [*map(_listed, predicted)], labels)
        if task.form == "retrieval":
            return ranking_statistics(metric, [_query(*pair) for pair in zip(expected, predicted, strict=True)])
        return statistics_of(metric, expected, predicted, label_names=labels)
    except (AdvisorError, TypeError, ValueError):
        return None


def _listed(text: str, *, strict: bool = True) -> list[str]:
    """Return the labels that a prediction of several labels names.

    Raises:
        ValueError: It is no JSON list of labels; not raised unless `strict`.
    """
    try:
        labels = json.loads(text)
    except ValueError:
        labels = None
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        return labels
    if strict:
        raise ValueError("not a list of labels")
    return []


def _query(expected: str, predicted: str) -> QueryRanks:
    """Return what a metric needs of a query from the JSON lists of best and found ranks.

    Raises:
        ValueError: One is no list of ranks.
    """
    best, found = json.loads(expected), json.loads(predicted)
    for ranks in (best, found):
        if not isinstance(ranks, list) or not all(type(rank) is int and rank > 0 for rank in ranks):
            raise ValueError("not a list of ranks")
    return QueryRanks(ranks=tuple(sorted(found)), n_relevant=len(best))
