"""What the table says about any point of the space: a model of the learning curves, with the noise of training.

Three models are compared by cross-validation (`compare_models`); replays use one of them. Noise is not modelled but
drawn: whole curves of deviations between seeds, as recorded, so that the errors at the rungs of one training belong
together. It depends on configuration and seed alone: the same trial gives the same values whenever it is asked for.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsRegressor

from advisor.catalog.dimensions import Dimension, Scalar
from advisor.search_space import SearchSpace
from studies.search_quality.problem import draw
from studies.search_quality.table import Row

Point = tuple[str, Mapping[str, Scalar]]  # method, values of its dimensions
N_FOLDS = 10
# Points of the space among which the best is looked for.
N_SEARCHED = 4000


class Model(Protocol):
    """A regression of curves on coordinates, as scikit-learn has them."""

    def fit(self, x: Any, y: Any) -> Any:
        """Learn."""

    def predict(self, x: Any) -> Any:
        """Return a curve per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """Learning curves of a space.

    Attributes:
        space: Where it holds.
        steps: Rungs of its curves.
        models: By method.
        deviations: Curves of deviations of one training from the mean over seeds, as recorded.
        best: Highest noise-free value at the last rung, over the recorded points and `N_SEARCHED` others.
    """

    space: SearchSpace
    steps: tuple[int, ...]
    models: Mapping[str, Model]
    deviations: tuple[tuple[float, ...], ...]
    best: float

    def mean_curve(self, point: Point) -> tuple[float, ...]:
        """Return the noise-free values at all rungs."""
        return tuple(map(float, _predict(self.models, self.space, [point])[0]))

    def curve(self, point: Point, seed: int) -> tuple[float, ...]:
        """Return the values that a training with this seed shows at all rungs."""
        method, values = point
        digest = hashlib.sha256(json.dumps([method, sorted(values.items()), seed]).encode()).hexdigest()
        deviation = Random(digest).choice(self.deviations)
        shown = zip(self.mean_curve(point), deviation, strict=True)
        return tuple(min(1.0, max(0.0, mean + off)) for mean, off in shown)


def fit(rows: Sequence[Row], space: SearchSpace, metric: str, kind: str, *, seed: int) -> Surrogate:
    """Fit a model of that kind per method to the rows that reached their end."""
    points, curves = _data(rows, space, metric)
    models = _fit(kind, points, curves, space)
    rng = Random(seed)
    searched = [*points, *(draw(space, rng) for _ in range(N_SEARCHED))]
    return Surrogate(
        space=space,
        steps=rows[0].steps,
        models=models,
        deviations=deviations(rows, metric),
        best=float(_predict(models, space, searched)[:, -1].max()),
    )


def compare_models(
    rows: Sequence[Row], space: SearchSpace, metric: str, *, seed: int, n_folds: int = N_FOLDS
) -> dict[str, dict[str, float]]:
    """Return errors at the last rung of every kind of model, each row predicted by a model that has not seen its point.

    `rmse` in units of the metric, `r2` the share of variance explained, `rank` Spearman's correlation.
    """
    points, curves = _data(rows, space, metric)
    names = [json.dumps([method, sorted(values.items())]) for method, values in points]
    distinct = sorted(set(names))
    found = {}
    for kind in KINDS:
        predicted = np.zeros_like(curves)
        for _, test in KFold(n_folds, shuffle=True, random_state=seed).split(distinct):
            held_out = {distinct[index] for index in test}
            outside = [index for index, name in enumerate(names) if name not in held_out]
            inside = [index for index, name in enumerate(names) if name in held_out]
            models = _fit(kind, [points[index] for index in outside], curves[outside], space)
            predicted[inside] = _predict(models, space, [points[index] for index in inside])
        found[kind] = _errors(curves[:, -1], predicted[:, -1])
    return found


def deviations(rows: Sequence[Row], metric: str) -> tuple[tuple[float, ...], ...]:
    """Return how far each repeated training lies from its configuration's mean, scaled to be unbiased in variance."""
    by_configuration: dict[int, list[tuple[float, ...]]] = {}
    for row in rows:
        if row.failure is None:
            by_configuration.setdefault(row.configuration, []).append(row.metrics[metric])
    found: list[tuple[float, ...]] = []
    for repeated in by_configuration.values():
        if (n := len(repeated)) > 1:
            off = (np.array(repeated) - np.mean(repeated, axis=0)) * math.sqrt(n / (n - 1))
            found += [tuple(map(float, curve)) for curve in off]
    return tuple(found)


def coordinates(point: Point, space: SearchSpace) -> list[float]:
    """Return a point's coordinates within its method, 0 to 1 each, in the scale in which the space is searched."""
    method, values = point
    part = next(part for part in space.methods if part.method == method)
    return [_coordinate(dimension, values[dimension.name]) for dimension in part.dimensions]


def _coordinate(dimension: Dimension, value: Scalar) -> float:
    if dimension.kind == "categorical":
        # Choices that are numbers (ranks) are ordered; places in a list of two texts are as good as any numbers.
        return dimension.choices.index(value) / max(1, len(dimension.choices) - 1)
    low, high, number = dimension.low or 0.0, dimension.high or 0.0, float(value)
    if dimension.log:
        return math.log(number / low) / math.log(high / low)
    return (number - low) / (high - low)


def _nearest() -> Model:
    return KNeighborsRegressor(n_neighbors=1)


class Forest:
    """Extremely randomized trees; a single point is predicted without the cost of scikit-learn's checks of it."""

    def __init__(self) -> None:
        """Nothing is learned yet."""
        self._trees = ExtraTreesRegressor(n_estimators=100, min_samples_leaf=2, random_state=0)

    def fit(self, x: Any, y: Any) -> "Forest":
        """Learn."""
        self._trees.fit(x, y)
        return self

    def predict(self, x: Any) -> Any:
        """Return a curve per row."""
        rows = np.asarray(x, dtype=np.float32)  # as trees store their thresholds' data
        return np.mean([tree.tree_.predict(rows)[:, :, 0] for tree in self._trees.estimators_], axis=0)


def _gaussian_process() -> Model:
    kernel = ConstantKernel(0.1, (1e-4, 10.0)) * RBF(0.5, (0.05, 20.0)) + WhiteKernel(1e-3, (1e-6, 1.0))
    return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)


KINDS = {"nearest": _nearest, "forest": Forest, "gaussian-process": _gaussian_process}


def _data(rows: Sequence[Row], space: SearchSpace, metric: str) -> tuple[list[Point], "np.ndarray[Any, Any]"]:
    inside = {part.method for part in space.methods}
    used = [row for row in rows if row.failure is None and row.method in inside]
    return [(row.method, row.values) for row in used], np.array([row.metrics[metric] for row in used])


def _fit(kind: str, points: Sequence[Point], curves: "np.ndarray[Any, Any]", space: SearchSpace) -> dict[str, Model]:
    models = {}
    for part in space.methods:
        own = [index for index, (method, _) in enumerate(points) if method == part.method]
        model = KINDS[kind]()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: a dimension that has no effect
            model.fit([coordinates(points[index], space) for index in own], curves[own])
        models[part.method] = model
    return models


def _predict(models: Mapping[str, Model], space: SearchSpace, points: Sequence[Point]) -> "np.ndarray[Any, Any]":
    by_method: dict[str, list[int]] = {}
    for index, (method, _) in enumerate(points):
        by_method.setdefault(method, []).append(index)
    found: dict[int, Any] = {}
    for method, own in by_method.items():
        curves = models[method].predict([coordinates(points[index], space) for index in own])
        found |= dict(zip(own, curves, strict=True))
    return np.array([found[index] for index in range(len(points))])


def _errors(truth: "np.ndarray[Any, Any]", guess: "np.ndarray[Any, Any]") -> dict[str, float]:
    squared = float(((truth - guess) ** 2).mean())
    ranks = [np.argsort(np.argsort(values)) for values in (truth, guess)]
    return {
        "rmse": math.sqrt(squared),
        "r2": 1 - squared / float(truth.var()),
        "rank": float(np.corrcoef(*ranks)[0, 1]),
    }
