"""Hyperparameters as used in the evidence: a robust centre and spread per task, architecture and method.

Every paper has one say (a sweep its best setting, else the median of its rows), weighted by how near its task and
architecture are and by what was seen of it. The centre is the weighted median, so that one odd recipe moves
nothing. The catalogue's default has a voice too. A rate that a study shared between all methods says little
about any of them and counts a quarter. DoRA and rsLoRA listen to LoRA's rows as well, for what they share.

A learning rate depends on the method, the architecture and the size of the model more than on the task: other tasks
count nearly fully there, models of another size less with every doubling between them. A rate that was used without
a word of tuning counts a quarter: scripts hand on each other's rates, mostly too low (`studies/hyperparameter_advice`).
`lora_alpha` is heard as its ratio to the rank, so that it means the same at every rank.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, isclose, log2, sqrt
from statistics import median

from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import Task
from advisor.evidence.contests import method_of
from advisor.evidence.digest import Setting
from advisor.evidence.excerpts import holds
from advisor.evidence.model_sizes import params_of
from advisor.evidence.papers import Paper
from advisor.evidence.rows import EvidenceRow
from advisor.spec import Architecture

# PEFT's or transformers' name -> how the evidence tells it.
READINGS: dict[str, Callable[[EvidenceRow], float | None]] = {
    "learning_rate": lambda row: _rate(row),
    "r": lambda row: _number(row.hyperparameters.get("r")),
    "lora_alpha": lambda row: _ratio(row),
    "lora_dropout": lambda row: _number(row.hyperparameters.get("dropout")),
    "num_virtual_tokens": lambda row: _number(row.hyperparameters.get("num_virtual_tokens")),
    "num_epochs": lambda row: _number(row.hyperparameters.get("epochs")),
    "loraplus_lr_ratio": lambda row: _number(row.hyperparameters.get("lr_ratio_B_over_A")),
}
# Where a reading is worked out, the number that stands in the source.
_REPORTED_AS = {"lora_alpha": "alpha", "learning_rate": "lr_base"}
_MOST_CITED = 3
Citation = tuple[str, float]  # id of a row, number in its excerpt
# What a relative does not share: rsLoRA divides alpha by the root of the rank, DoRA does well with fewer ranks.
_OWN = ("r", "lora_alpha")
_MIXED_ARCHITECTURE, _OTHER_ARCHITECTURE = 0.6, 0.1
_ONE_RATE = 0.25
_RELATIVES = {"dora": "lora", "rslora": "lora"}
_RELATIVE = 0.5
_HEARD = 0.15  # voices below are too far away to be counted as papers
# Papers that tuned the rate of each method, model or data set, though the losing values are not published.
_TUNED = frozenset({
    "hu2021lora", "liu2022tfew", "lester2021prompt", "dettmers2023qlora", "tinker2026cookbook", "biderman2024lora",
})  # fmt: skip
# Numbers of parameters at which a learning rate is worked out; in between it is interpolated.
_SIZES = (60e6, 125e6, 350e6, 1e9, 3e9, 7e9, 14e9, 33e9, 70e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """How far a voice carries.

    Attributes:
        other_task: Weight of another task of the same kind (labels or text), or of a general one.
        other_kind: Weight of a task of the other kind.
        doublings: Standard deviation of the kernel over the logarithm of the model size, in doublings; None for no
            kernel.
        unknown_size: Weight where the size of the model is not told.
        untuned: Weight of a value that was used, not found best among several.
        default: Weight of the catalogue's default.
    """

    other_task: float
    other_kind: float
    doublings: float | None = None
    unknown_size: float = 0.5
    untuned: float = 1.0
    default: float = 0.5


# A rank or a number of epochs depends on the task as well.
USUAL = Hearing(other_task=0.6, other_kind=0.3)
RATES = Hearing(other_task=0.9, other_kind=0.6, doublings=4.0, untuned=0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saying:
    """What a paper says about one task, architecture and, where sizes matter, size of model."""

    paper: str
    value: float
    trust: float
    size: float | None
    is_sweep: bool
    row: EvidenceRow
    cited: Citation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Voice:
    value: float
    weight: float
    size: float | None
    row: EvidenceRow
    cited: Citation | None


def settings(
    task: Task,
    architecture: Architecture,
    methods: Sequence[str],
    rows: Sequence[EvidenceRow],
    papers: Mapping[str, Paper],
    rates: Hearing = RATES,
) -> dict[str, dict[str, Setting]]:
    """Return the settings of these methods for a task and architecture; methods without any are left out.

    Args:
        task: For which advice is wanted.
        architecture: Of the base model.
        methods: Slugs.
        rows: All evidence.
        papers: All papers by key.
        rates: How learning rates are heard.
    """
    found: dict[str, dict[str, Setting]] = {}
    for slug in methods:
        defaults = METHODS[slug].hyperparameters(architecture)
        own = [row for row in rows if method_of(row) == slug and "unfrozen-base" not in row.caveats]
        related = [row for row in rows if method_of(row) == _RELATIVES.get(slug)]
        for name in READINGS:
            # rsLoRA divides alpha by the root of the rank, AdaLoRA by nothing.
            if name not in defaults or (name == "lora_alpha" and (slug == "rslora" or "r" not in defaults)):
                continue
            hearing = rates if name == "learning_rate" else USUAL
            relatives = [] if name in _OWN else related
            heard = _sayings(name, own, papers, hearing), _sayings(name, relatives, papers, hearing)
            setting = _setting(task, architecture, heard, _default_of(name, defaults), hearing)
            if setting is not None:
                found.setdefault(slug, {})[name] = setting
    return found


def _default_of(name: str, defaults: Mapping[str, object]) -> float:
    value = _number(defaults[name]) or 0.0
    return value / (_number(defaults["r"]) or 1.0) if name == "lora_alpha" else value


def _sayings(name: str, rows: Sequence[EvidenceRow], papers: Mapping[str, Paper], hearing: Hearing) -> list[_Saying]:
    """Return what the papers say, one saying for each task, architecture and size of a paper."""
    groups: dict[tuple[str, str, str | None, float | None], list[EvidenceRow]] = defaultdict(list)
    for row in rows:
        if READINGS[name](row) is not None:
            told = params_of(row) if hearing.doublings is not None else None
            groups[(row.paper, row.task, row.architecture, told)].append(row)
    found = []
    for (paper, _, _, size), group in sorted(groups.items(), key=lambda item: str(item[0])):
        trust = max(row.weight for row in group)
        if name == "learning_rate" and "one-learning-rate" in (*papers[paper].caveats, *group[0].caveats):
            trust *= _ONE_RATE
        value, row = _say(name, group)
        # A table of scores seldom repeats what the models were trained with; another row of the paper says it.
        said = [row, *group, *(other for other in rows if other.paper == paper)]
        found.append(
            _Saying(
                paper=paper, value=value, trust=trust, size=size, is_sweep=_is_sweep(name, group), row=row,
                cited=_citation(name, READINGS[name](row) or 0.0, said),
            )
        )  # fmt: skip
    return found


def _voices(
    sayings: Sequence[_Saying], task: Task, architecture: str, hearing: Hearing, params: float | None
) -> list[_Voice]:
    """Return what each paper says where it is nearest; of all sizes alike where no size is asked for."""
    nearest: dict[str, _Voice] = {}
    for one in sayings:
        weight = one.trust * nearness(one.row, task, architecture, hearing)
        if params is not None:
            weight *= _likeness(params, one.size, hearing)
        if one.paper not in _TUNED and not one.is_sweep:
            weight *= hearing.untuned
        if one.paper not in nearest or weight > nearest[one.paper].weight:
            nearest[one.paper] = _Voice(value=one.value, weight=weight, size=one.size, row=one.row, cited=one.cited)
    return list(nearest.values())


def _likeness(params: float, size: float | None, hearing: Hearing) -> float:
    if size is None:
        return hearing.unknown_size
    return exp(-0.5 * (log2(params / size) / (hearing.doublings or 1.0)) ** 2)


def _setting(
    task: Task,
    architecture: str,
    sayings: tuple[Sequence[_Saying], Sequence[_Saying]],
    default: float,
    hearing: Hearing,
) -> Setting | None:
    """Return the centre and spread of what is said of a method and, more quietly, of its relatives."""

    def voices_at(params: float | None) -> list[_Voice]:
        own, related = (_voices(group, task, architecture, hearing, params) for group in sayings)
        return [*own, *(replace(voice, weight=voice.weight * _RELATIVE) for voice in related)]

    voices = voices_at(None)
    heard = sorted((one for one in voices if one.weight >= _HEARD), key=lambda one: (-one.weight, one.row.id))
    if not heard:
        return None
    said = _with_default(voices, default, hearing)
    at_sizes = {size: voices_at(size) for size in (_SIZES if hearing.doublings is not None else ())}
    # What was done on the task itself is shown first, however little it weighs.
    shown = sorted(heard, key=lambda one: one.row.task != task.slug)
    cited = [one.cited for one in shown if one.cited is not None][:_MOST_CITED]
    return Setting(
        value=_quantile(said, 0.5),
        low=_quantile(said, 0.1),
        high=_quantile(said, 0.9),
        papers=len(heard),
        on_task=sum(one.row.task == task.slug for one in heard),
        evidence=tuple(id_ for id_, _ in cited),
        figures=tuple(figure for _, figure in cited),
        by_size=tuple(
            (size, _quantile(_with_default(there, default, hearing), 0.5)) for size, there in at_sizes.items()
        ),
        cited_by_size=_cited_by_size(at_sizes, {one.row.paper for one in heard}, task),
    )


def _cited_by_size(
    voices: Mapping[float, Sequence[_Voice]], papers: Collection[str], task: Task
) -> tuple[tuple[float, tuple[str, ...], tuple[float, ...]], ...]:
    """Return what to read for a model of each size, from half way (in doublings) to the size below on.

    Args:
        voices: By size, smallest first.
        papers: Those that are counted; others are too far away to be read.
        task: For which advice is wanted.
    """
    ends = [0.0, *(float(round(sqrt(one * other), -6)) for one, other in pairwise(voices))]
    found: list[tuple[float, tuple[str, ...], tuple[float, ...]]] = []
    for least, (size, heard) in zip(ends, voices.items(), strict=False):
        cited = _to_read([one for one in heard if one.row.paper in papers], task, size)
        if not found or found[-1][1:] != (tuple(cited), tuple(cited.values())):
            found.append((least, tuple(cited), tuple(cited.values())))
    return tuple(found)


def _to_read(voices: Iterable[_Voice], task: Task, params: float) -> dict[str, float]:
    """Return rows with their numbers: one on the task itself, one of the nearest size, then the weightiest."""
    known = sorted((one for one in voices if one.cited is not None), key=lambda one: (-one.weight, one.row.id))
    on_task = [one for one in known if one.row.task == task.slug][:1]
    sized = [(round(abs(log2(params / one.size))), one) for one in known if one.size and one not in on_task]
    nearest = [one for _, one in sorted(sized, key=lambda pair: pair[0])[:1]]
    cited: dict[str, float] = {}
    for one in (*on_task, *nearest, *known):
        if one.cited is not None:
            cited.setdefault(*one.cited)
    return dict(list(cited.items())[:_MOST_CITED])


def _with_default(voices: Sequence[_Voice], default: float, hearing: Hearing) -> list[tuple[float, float]]:
    return sorted([(one.value, one.weight) for one in voices] + [(default, hearing.default)])


def _say(name: str, group: Sequence[EvidenceRow]) -> tuple[float, EvidenceRow]:
    """Return the value a paper stands for: that of its best run when it tried several in one set-up."""
    told = [(READINGS[name](row) or 0.0, row) for row in group]
    if _is_sweep(name, group):
        return max(told, key=lambda one: (one[1].value or 0.0) * (1 if one[1].higher_is_better else -1))
    middle = median(value for value, _ in told)
    return middle, min(told, key=lambda one: (abs(one[0] - middle), one[1].id))[1]


def _is_sweep(name: str, group: Sequence[EvidenceRow]) -> bool:
    """Were several values tried and scored in one set-up?"""
    scored = [row for row in group if row.value is not None and row.metric]
    one_setup = len({(row.dataset, row.language, row.model, row.metric) for row in scored}) == 1
    return one_setup and len(scored) == len(group) and len({READINGS[name](row) for row in group}) > 1


def nearness(row: EvidenceRow, task: Task, architecture: str, hearing: Hearing) -> float:
    """Return how much a row counts for a task and architecture."""
    near = row.task_kind in (task.kind, "general")
    share = 1.0 if row.task == task.slug else hearing.other_task if near else hearing.other_kind
    if row.architecture is None:
        return share * _MIXED_ARCHITECTURE
    return share * (1.0 if row.architecture == architecture else _OTHER_ARCHITECTURE)


def _quantile(voices: Sequence[tuple[float, float]], share: float) -> float:
    """Weighted quantile of (value, weight) sorted by value."""
    target = share * sum(weight for _, weight in voices)
    total = 0.0
    for value, weight in voices:
        total += weight
        if total >= target - 1e-12:
            return value
    return voices[-1][0]


def _citation(name: str, value: float, rows: Iterable[EvidenceRow]) -> Citation | None:
    """Return the first row that stands for this value and whose excerpt holds the number, with the number.

    Recipes come before scores, in whose tables the number may stand by chance.
    """
    for row in sorted(rows, key=lambda one: one.kind != "hyperparameters"):
        told = READINGS[name](row)
        if told is not None and isclose(told, value):
            figure = _number(row.hyperparameters.get(_REPORTED_AS.get(name, ""))) or told
            if holds(row.source.excerpt, figure, as_percentage=name == "lora_dropout"):
                return row.id, figure
    return None


def _rate(row: EvidenceRow) -> float | None:
    """Return the learning rate; a rate for full fine-tuning with its factor for LoRA counts as their product."""
    base, factor = (_number(row.hyperparameters.get(name)) for name in ("lr_base", "lora_multiplier"))
    return base * factor if base and factor else _number(row.hyperparameters.get("lr"))


def _ratio(row: EvidenceRow) -> float | None:
    alpha, rank = _number(row.hyperparameters.get("alpha")), _number(row.hyperparameters.get("r"))
    if row.hyperparameters.get("alpha") == "2r":
        return 2.0
    return alpha / rank if alpha is not None and rank else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
