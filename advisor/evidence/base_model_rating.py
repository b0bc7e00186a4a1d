"""How strong each base model is at each ability, from published figures measured alike.

Two sources: `capabilities.jsonl` (two models meet on one benchmark of one comparable group and regime) and
`evidence.jsonl` (two models meet in one set-up of one paper, tuned with the same method). Figures of
instruction-tuned siblings are left out, since they say more about post-training than about the base to be tuned,
and so are groups that are not comparable among themselves.

Few models have figures for every ability, and size tells much about writing code. So for every ability that writes,
a rating is drawn towards a straight line over the logarithm of the parameters, fitted to the decoders: a model
without figures stands on the line. For labelling tasks, where hardly any decoder was measured alike, decoders
are placed among themselves by a quarter of their rating at writing code. `figures` = false marks models without
figures of their own.

Fitting takes longer than `recommend` may take, so the result is kept in `knowledge/base_model_strengths.json`.
Make it anew after a change of evidence with `python -m advisor.evidence.build`; a test compares.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from advisor.catalog.base_models import BaseModel, all_base_models
from advisor.catalog.files import read_rows
from advisor.evidence.base_model_strength import Ability, ability_of
from advisor.evidence.contests import method_of, points
from advisor.evidence.rating import Score, rate
from advisor.evidence.rows import EvidenceRow, read_evidence

# Benchmarks (by the first words of their name) that measure an ability; one may measure several.
_BENCHMARKS: dict[Ability, tuple[str, ...]] = {
    "classify": ("bigclonebench", "devign", "poj104", "manytypes4typescript", "webquerytest", "code2code-search"),
    "search": ("advtest", "cosqa", "codesearchnet-mrr", "code2code-search"),
    "describe": ("codesearchnet-bleu", "humanevalpack-explain"),
    "generate": (
        "humaneval", "humaneval-plus", "mbpp", "bigcodebench", "multipl-e", "evalplus-avg", "ds-1000", "concode",
        "humanevalpack-generate",
    ),
    "repair": ("humanevalpack-fix", "bugs2fix", "test-evolution"),
    "complete": ("multipl-e-fim", "crosscodeeval", "repobench", "javacorpus", "py150", "humaneval-fim"),
    "translate": ("codetrans", "multipl-e"),
    "test": ("unit-test-generation", "assertion-generation", "test-evolution"),
}  # fmt: skip
_READING = ("classify", "search")
# Writing code well carries over to every task that writes, but it weighs less than a benchmark of the ability itself,
# and ten points of it are not ten points there (least where the answer is prose).
_SPILLOVER = 0.4
_SPILLOVER_SCALE: dict[Ability, float] = {"describe": 0.5}
_USUAL_SPILLOVER_SCALE = 0.7
# Task tuning of all architectures alike (Java test tasks): the only bridge from encoder-decoders to decoders.
_BRIDGE = ("unit-test-generation", "assertion-generation", "test-evolution")
_BRIDGE_WEIGHT = 0.3
_SEARCH_STAGE_WEIGHT = 0.5
# Fine-tuning is what the user is about to do; zero-shot embeddings tell least about it.
_REGIME_WEIGHT = {"task-fine-tuned": 2.0, "prompted-base": 1.0, "zero-shot-embedding": 0.4}
_CODE_CLASSIFICATION = {
    "clone-detection", "defect-detection", "vulnerability-detection", "type-inference", "code-smell-detection",
    "flaky-test-classification", "jit-defect-prediction",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """A score with where it was read, and whether it measures the ability itself."""

    score: Score
    source: str
    own: bool
    evidence: str | None = None


def build() -> dict[str, dict[str, dict[str, Any]]]:
    """Rate all base models at every ability from the knowledge files."""
    capabilities = [row for row in read_rows("capabilities.jsonl") if _is_comparable(row)]
    evidence = [row for row in read_evidence() if row.value is not None and row.hf_id]
    built = {ability: _rate_ability(ability, capabilities, evidence) for ability in _BENCHMARKS}
    built["classify"] |= _by_writing(built["generate"], built["classify"])
    return {ability: dict(sorted(rows.items())) for ability, rows in built.items()}


def dumps(built: Mapping[str, Any]) -> str:
    """Return the text of the file: one line per model, so that a change shows as a readable diff."""
    abilities = []
    for ability, rows in built.items():
        lines = ",\n".join(f"  {json.dumps(hf_id)}: {json.dumps(row)}" for hf_id, row in rows.items())
        abilities.append(f'"{ability}": {{\n{lines}\n}}')
    return "{\n" + ",\n".join(abilities) + "\n}\n"


def _rate_ability(
    ability: Ability, capabilities: list[dict[str, Any]], evidence: list[EvidenceRow]
) -> dict[str, dict[str, Any]]:
    models = {model.hf_id: model for model in all_base_models()}
    figures = [figure for row in capabilities for figure in _from_capability(ability, row)]
    figures += [figure for row in evidence for figure in _from_evidence(ability, row)]
    figures = _shared_out(figures)
    sized = ability not in _READING
    ratings = rate([figure.score for figure in figures], lambda current: _expectation(current, models, sized))
    sources: dict[str, set[str]] = defaultdict(set)
    ids: dict[str, set[str]] = defaultdict(set)
    own = {figure.score.contender for figure in figures if figure.own}
    for figure in figures:
        if figure.own or figure.score.contender not in own:
            sources[figure.score.contender].add(figure.source)
        if figure.evidence:
            ids[figure.score.contender].add(figure.evidence)
    rows = {
        hf_id: {
            "rating": round(rating.units, 3), "weight": round(rating.weight, 2), "figures": True,
            "own": hf_id in own, "sources": sorted(sources[hf_id]), "evidence": sorted(ids[hf_id])[:3],
        }
        for hf_id, rating in ratings.items() if hf_id in models
    }  # fmt: skip
    if sized:
        expected = _expectation({name: (one.units, one.weight) for name, one in ratings.items()}, models, sized)
        writers = [*_decoders(models), *(one for one in models if models[one].architecture == "encoder-decoder")]
        rows |= {hf_id: _without_figures(expected(hf_id)) for hf_id in writers if hf_id not in rows}
    return rows


def _shared_out(figures: list[_Figure]) -> list[_Figure]:
    """Let a source with n set-ups count as the root of n: its benchmarks measure nearly the same."""
    setups: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for figure in figures:
        setups[figure.source].add(figure.score.setup)
    return [
        _Figure(
            source=one.source, own=one.own, evidence=one.evidence,
            score=Score(
                setup=one.score.setup, contender=one.score.contender, value=one.score.value,
                weight=one.score.weight / math.sqrt(len(setups[one.source])),
            ),
        )
        for one in figures
    ]  # fmt: skip


def _expectation(
    current: Mapping[str, tuple[float, float]], models: Mapping[str, BaseModel], sized: bool
) -> Callable[[str], float]:
    """Return the line over log2(parameters) through the current ratings of decoders, or zero for reading abilities."""
    known = {name: math.log2(models[name].params) for name in _decoders(models) if name in current}
    if not sized or len(known) < 3:
        return lambda name: 0.0
    intercept, slope = _line([(size, *current[name]) for name, size in known.items()])
    return lambda name: intercept + slope * math.log2(models[name].params) if name in models else 0.0


def _by_writing(generate: Mapping[str, dict[str, Any]], own: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    decoders = {model.hf_id for model in all_base_models() if model.architecture == "decoder-only"}
    return {
        hf_id: _without_figures(min(0.0, 0.25 * row["rating"] - 0.5))
        for hf_id, row in generate.items()
        if hf_id in decoders and hf_id not in own
    }


def _without_figures(rating: float) -> dict[str, Any]:
    return {"rating": round(rating, 3), "weight": 0.0, "figures": False, "own": False, "sources": [], "evidence": []}


def _decoders(models: Mapping[str, BaseModel]) -> list[str]:
    """Ids of dense decoders; the size of a mixture of experts says something else."""
    return [
        hf_id for hf_id, model in models.items()
        if model.architecture == "decoder-only" and "mixture-of-experts" not in model.traits
    ]  # fmt: skip


def _line(triples: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Weighted least squares of (x, y, weight): intercept and slope."""
    total = sum(weight for _, _, weight in triples)
    mean_x = sum(x * weight for x, _, weight in triples) / total
    mean_y = sum(y * weight for _, y, weight in triples) / total
    spread = sum(weight * (x - mean_x) ** 2 for x, _, weight in triples)
    slope = sum(weight * (x - mean_x) * (y - mean_y) for x, y, weight in triples) / spread
    return mean_y - slope * mean_x, slope


def _is_comparable(row: Mapping[str, Any]) -> bool:
    return (
        row["regime"] in _REGIME_WEIGHT
        and row["comparable_group"] != "single-figures"
        and row["higher_is_better"]
        and row.get("variant") in (None, "multi", "mono or multi not stated")
    )


def _from_capability(ability: Ability, row: Mapping[str, Any]) -> Iterable[_Figure]:
    weight = _benchmark_weight(ability, row["benchmark"]) * _REGIME_WEIGHT[row["regime"]]
    if weight:
        group: str = row["comparable_group"]
        setting = row["setting"] if group in ("multilingual-adapter-tables", "codet5p-tables") else ""
        setup = (group, row["benchmark"], row["regime"], row["metric"], setting)
        value = row["value"] * (100.0 if row["unit"] == "fraction" else 1.0)
        own = _measures(row["benchmark"], ability)
        value *= 1.0 if own else _SPILLOVER_SCALE.get(ability, _USUAL_SPILLOVER_SCALE)
        score = Score(setup=setup, contender=row["hf_id"], value=value, weight=weight)
        yield _Figure(score=score, source=group, own=own)


def _measures(benchmark: str, ability: Ability) -> bool:
    """Does a benchmark measure an ability itself? Filling in the middle is completing, whatever it is called."""
    if "fim" in benchmark and ability != "complete":
        return False
    return any(benchmark == name or benchmark.startswith(f"{name}-") for name in _BENCHMARKS[ability])


def _benchmark_weight(ability: Ability, benchmark: str) -> float:
    if _measures(benchmark, ability):
        return 1.0
    if ability in _READING:
        return 0.0
    if _measures(benchmark, "generate"):
        return _SPILLOVER
    return _BRIDGE_WEIGHT if benchmark.startswith(_BRIDGE) else 0.0


def _from_evidence(ability: Ability, row: EvidenceRow) -> Iterable[_Figure]:
    own = ability_of(row.task) == ability and (ability != "classify" or row.task in _CODE_CLASSIFICATION)
    if own and row.metric and row.hf_id and method_of(row) != "zero-shot" and "unparsable-output" not in row.caveats:
        conditions = tuple(f"{name}={value}" for name, value in sorted(row.hyperparameters.items()) if name != "lr")
        setup = (row.paper, row.task, row.dataset or "", row.language or "", row.metric, method_of(row), *conditions)
        value = points(row.value or 0.0, row.metric, row.finding, abs(row.value or 0.0))
        weight = row.weight * (_SEARCH_STAGE_WEIGHT if "search-stage" in row.caveats else 1.0)
        score = Score(setup=setup, contender=row.hf_id, value=value, weight=weight)
        yield _Figure(score=score, source=row.paper, own=True, evidence=row.id)
