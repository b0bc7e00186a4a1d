"""Dry runs at a few points, and the closed form through them.

For a fixed model, method, precision, storage and checkpointing the operators of a step are the same whatever the
batch, so each moment of the step can be followed from one dry run to another, and the bytes alive at that moment are
a polynomial. Least squares over slightly more points than terms finds it; rounding by the allocator is what is left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftConfig

from advisor.dryrun.depth import BUILT_LAYERS, UnevenStackError, costs_at_depth, group_curves, live_bytes_at_depth
from advisor.dryrun.peaks import peaks_of
from advisor.dryrun.regions import stacks_of
from advisor.dryrun.roofline import PhasedCost, totals_of
from advisor.dryrun.step import StepTrace, build_model, run_model_step, update_costs
from advisor.dryrun.workload import Workload
from advisor.errors import AdvisorError
from advisor.feasibility.profiles import SIZE_OF, Coefficients, Moment, Point, StepProfile
from advisor.modeling.meta import depth_of

Array = npt.NDArray[np.float64]

_TERMS = ("1", "b", "bs", "bss")
_TARGET_TERMS = ("bt", "bst", "btt")
_POSITION_TERMS = ("ss", "st", "tt")  # T5's biases of relative positions are the same for all examples
_RANK_TERMS = ("p", "bp", "bsp")
_RANK_TARGET_TERMS = ("btp",)
_SQUARED_RANK_TERM = ("pp",)  # AdaLoRA holds its singular vectors orthogonal: products of rank by rank
_TOKEN_TERMS = ("p", "bp", "bsp", "bpp")
_TOKEN_TARGET_TERMS = ("btp",)
_GRID = 1500  # points at which the largest moment is looked for
_NEGLIGIBLE = 1e-7
_REPLAYED_LAYERS = 8
_LEFT_OUT = 5e-4  # a moment is dropped where the others come this close to it


class NoClosedFormError(AdvisorError):
    """The dry runs of a configuration do not follow one polynomial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a profile is about: everything but batch, lengths and size.

    Attributes:
        workload: A workload of it; its batch, lengths and adapter are replaced.
        method: Slug.
        sizes: Values of the method's size to dry-run at; empty when it has none.
        adapters: PEFT's configuration at each of the sizes; one where there are none, None for full fine-tuning.
        max_length: Longest source to dry-run at.
        in_full: Build all layers instead of extrapolating from three.
    """

    workload: Workload
    method: str
    sizes: tuple[int, ...]
    adapters: tuple[PeftConfig | None, ...]
    max_length: int
    in_full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    point: Point
    curves: Array
    weights: float
    adapter: float
    trainable: float
    state_ratio: float
    totals: dict[str, float]


def profile_of(configuration: Configuration, base_model: str, overhead: float | None = None) -> StepProfile:
    """Dry-run a configuration and return its closed form.

    Args:
        configuration: What the profile is about.
        base_model: Hub id that it is stored under.
        overhead: As in `StepProfile`, when it is known from a configuration alike; None to replay some steps.

    Raises:
        NoClosedFormError: The dry runs do not follow one polynomial.
        UnevenStackError: The layers are not alike; ask again with `in_full`.
    """
    terms = terms_of(configuration)
    samples = _samples(configuration, _points(configuration, len(terms) + 1))
    if len({sample.curves.shape for sample in samples}) != 1:
        raise NoClosedFormError(f"{base_model}, {configuration.method}: the steps differ in their operators")
    matrix = _matrix([sample.point for sample in samples], terms)
    curves = np.stack([sample.curves for sample in samples])  # (points, groups, moments)
    fitted = _solve(matrix, curves.reshape(len(samples), -1)).reshape(len(terms), *curves.shape[1:])
    workload = configuration.workload

    def fit(values: Sequence[float]) -> Coefficients:
        return _sparse(_solve(matrix, np.array(values, dtype=float)[:, None])[:, 0], matrix, terms)

    names = ("alive", "logits", "gradients", "workspace")
    return StepProfile(
        base_model=base_model,
        head=workload.head,
        method=configuration.method,
        precision=workload.precision,
        quantization=workload.quantization,
        gradient_checkpointing=workload.gradient_checkpointing,
        weights=fit([sample.weights for sample in samples]),
        adapter=fit([sample.adapter for sample in samples]),
        # All gradients are alive at the end of the backward pass, which is where their curve is highest.
        gradients=fit([float(sample.curves[2].max()) for sample in samples]),
        optimizer=fit([sample.state_ratio * sample.trainable for sample in samples]),
        trainable=fit([sample.trainable for sample in samples]),
        moments=tuple(
            Moment(**{name: _sparse(fitted[:, row, moment], matrix, terms) for row, name in enumerate(names)})
            for moment in _largest(fitted, terms, configuration)
        ),
        overhead=overhead_of(configuration) if overhead is None else overhead,
        totals={name: fit([sample.totals[name] for sample in samples]) for name in samples[0].totals},
    )


def terms_of(configuration: Configuration) -> tuple[str, ...]:
    """Return the monomials that a configuration's bytes are made of."""
    has_target = configuration.workload.head == "seq2seq-lm"
    terms = _TERMS + (_TARGET_TERMS if has_target else ())
    if configuration.workload.source.architecture == "encoder-decoder":
        terms += _POSITION_TERMS if has_target else _POSITION_TERMS[:1]
    if not configuration.sizes:
        return terms
    if SIZE_OF[configuration.method] != "num_virtual_tokens":
        squared = _SQUARED_RANK_TERM if configuration.method == "adalora" else ()
        return terms + _RANK_TERMS + squared + (_RANK_TARGET_TERMS if has_target else ())
    return terms + _TOKEN_TERMS + (_TOKEN_TARGET_TERMS if has_target else ())


def _points(configuration: Configuration, count: int) -> list[Point]:
    """Spread points over the domain, the same every time.

    A batch of one skips a copy or two that larger ones make, so it is left to the closed form of the others.
    """
    random = np.random.default_rng(0)
    longest = max(64, configuration.max_length // 64 * 64)
    points = []
    for number in range(count):
        size = configuration.sizes[number % len(configuration.sizes)] if configuration.sizes else 0
        target = int(random.integers(1, 9)) * 32 if configuration.workload.head == "seq2seq-lm" else 0
        length = int(random.integers(1, longest // 64 + 1)) * 64
        points.append(
            Point(batch_size=int(random.integers(2, 17)), source_tokens=length, target_tokens=target, size=size)
        )
    return points


def workload_at(configuration: Configuration, point: Point) -> Workload:
    """Return the workload of a configuration at one point."""
    number = configuration.sizes.index(point.size) if configuration.sizes else 0
    return replace(
        configuration.workload, peft_config=configuration.adapters[number], batch_size=point.batch_size,
        seq_length=point.source_tokens, target_length=point.target_tokens,
    )  # fmt: skip


def _samples(configuration: Configuration, points: Sequence[Point]) -> list[_Sample]:
    """Run the step at every point; a model is built once for each size, but bitsandbytes' layers change when used."""
    models: dict[int, torch.nn.Module] = {}
    samples = []
    for point in points:
        workload = workload_at(configuration, point)
        if not configuration.in_full:
            workload = replace(workload, layers=BUILT_LAYERS)
        if point.size not in models or workload.quantization is not None:
            models[point.size] = build_model(workload)
        samples.append(_sample(models[point.size], workload, point, depths_of(configuration.workload)))
    return samples


def _sample(model: torch.nn.Module, workload: Workload, point: Point, depths: Sequence[int]) -> _Sample:
    in_full = workload.layers is None
    trace = run_model_step(model, workload, by_layer=not in_full)
    if in_full:
        curves, totals, stacks = group_curves(trace), totals_of(trace.costs), []
    else:
        stacks = stacks_of(model, BUILT_LAYERS)
        if len(stacks) != len(depths):
            raise UnevenStackError(f"{workload.source.name}: {len(depths)} stacks of layers expected")
        curves = live_bytes_at_depth(trace, depths).curves
        totals = _totals_at_depth(trace, depths, update_costs(_trained(model, stacks, depths), workload.optimizer))
    frozen, trained_bytes, trained = _parameter_bytes(model, stacks, depths)
    full = workload.peft_config is None
    built_trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    state = sum(block.nbytes for block in trace.blocks if block.category == "optimizer")
    return _Sample(
        point=point,
        curves=curves,
        weights=frozen + (trained_bytes if full else 0),
        adapter=0.0 if full else trained_bytes,
        trainable=trained,
        state_ratio=state / max(1, built_trained),
        totals=totals,
    )


def _totals_at_depth(trace: StepTrace, depths: Sequence[int], update: Sequence[PhasedCost]) -> dict[str, float]:
    """Add up forward and backward pass with their middle layers as often as they come, and the whole update."""
    passes = [cost for cost in trace.costs if cost[0] in ("forward", "backward")]
    factors = [factor for factor in costs_at_depth(trace, depths) if factor[0] < len(passes)]
    return totals_of([*passes, *update], [*factors, (len(passes), 1)])


def _trained(
    model: torch.nn.Module, stacks: Sequence[Sequence[torch.nn.Module]], depths: Sequence[int]
) -> list[torch.Tensor]:
    """Return the trained parameters at full depth; those of a middle layer stand for those of the layers not built."""
    middle = [
        one
        for layers, depth in zip(stacks, depths, strict=True)
        for one in [*layers[1].parameters()] * (depth - BUILT_LAYERS)
    ]
    return [one for one in [*model.parameters(), *middle] if one.requires_grad]


def depths_of(workload: Workload) -> tuple[int, ...]:
    """Return the number of layers of each stack of the whole model."""
    config = workload.source.config
    if workload.source.architecture != "encoder-decoder":
        return (depth_of(config),)
    decoder = getattr(config, "num_decoder_layers", None) or getattr(config, "decoder_layers", None)
    return depth_of(config), int(decoder or depth_of(config))


def _parameter_bytes(
    model: torch.nn.Module, stacks: Sequence[Sequence[torch.nn.Module]], depths: Sequence[int]
) -> tuple[float, float, float]:
    """Return bytes of frozen tensors, bytes and number of trained parameters, at full depth."""

    def count(module: torch.nn.Module, shared: frozenset[int] = frozenset()) -> Array:
        own = [one for one in module.parameters() if id(one) not in shared]
        trained = [one for one in own if one.requires_grad]
        frozen = [*(one for one in own if not one.requires_grad), *module.buffers()]
        return np.array([
            sum(one.nbytes for one in frozen), sum(one.nbytes for one in trained), sum(one.numel() for one in trained)
        ], dtype=float)  # fmt: skip

    total = count(model)
    for layers, depth in zip(stacks, depths, strict=bool(stacks)):
        # What all layers have together, such as Compacter's rule, is there once.
        total += (depth - BUILT_LAYERS) * count(layers[1], frozenset(map(id, layers[0].parameters())))
    return float(total[0]), float(total[1]), float(total[2])


def _matrix(points: Sequence[Point], terms: Sequence[str]) -> Array:
    return np.array([[point.value(term) for term in terms] for point in points])


def _solve(matrix: Array, values: Array) -> Array:
    scale = np.abs(matrix).max(axis=0)
    solution, *_ = np.linalg.lstsq(matrix / scale, values, rcond=None)
    return np.asarray(solution / scale.reshape(-1, *([1] * (values.ndim - 1))))


def _largest(fitted: Array, terms: Sequence[str], configuration: Configuration) -> list[int]:
    """Return the few moments whose largest is, anywhere in the domain, the largest of all."""
    random = np.random.default_rng(1)
    sizes = configuration.sizes or (0,)
    points = [
        Point(
            batch_size=int(random.choice([1, 2, 4, 8, 16, 32, 64])),
            source_tokens=int(2 ** random.uniform(5, math.log2(max(64, configuration.max_length)))),
            target_tokens=int(random.integers(16, 513)) if configuration.workload.head == "seq2seq-lm" else 0,
            size=int(random.integers(min(sizes), max(sizes) + 1)),
        )
        for _ in range(_GRID)
    ]
    alive = _matrix(points, terms) @ fitted[:, 0, :]  # (points, moments)
    highest = alive.max(axis=1)
    chosen: list[int] = []
    reached = np.full(len(points), -np.inf)
    while True:
        short = highest - reached > _LEFT_OUT * np.abs(highest)
        if not short.any():
            return chosen
        winners = np.bincount(alive[short].argmax(axis=1), minlength=alive.shape[1])
        chosen.append(int(winners.argmax()))
        reached = np.maximum(reached, alive[:, chosen[-1]])


def overhead_of(configuration: Configuration) -> float:
    """Replay steps of at most eight layers through the allocator and return the largest overhead."""
    size = configuration.sizes[len(configuration.sizes) // 2] if configuration.sizes else 0
    depth = min(_REPLAYED_LAYERS, *depths_of(configuration.workload))
    shares = []
    for batch, length in ((2, 200), (6, 360)):
        target = length // 4 if configuration.workload.head == "seq2seq-lm" else 0
        point = Point(
            batch_size=batch, source_tokens=min(length, configuration.max_length), target_tokens=target, size=size
        )
        workload = replace(workload_at(configuration, point), layers=depth)
        trace: StepTrace = run_model_step(build_model(workload), workload, with_costs=False)
        peaks = peaks_of(trace)
        beyond = peaks.requested_bytes - peaks.breakdown.get("weights", 0)
        shares.append((peaks.reserved_bytes - peaks.requested_bytes) / beyond)
    return round(max(0.0, *shares), 4)


def _sparse(coefficients: Array, matrix: Array, terms: Sequence[str]) -> Coefficients:
    """Return the terms that matter anywhere among the points, rounded to bytes that nobody would miss."""
    shares = np.abs(coefficients) * np.abs(matrix).max(axis=0)
    kept = shares > _NEGLIGIBLE * shares.sum()
    return {term: float(f"{value:.9g}") for term, value, keep in zip(terms, coefficients, kept, strict=True) if keep}
