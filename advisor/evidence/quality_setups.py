"""Set-ups in which published scores of several methods may be compared, for learning how good each method is.

A set-up is one table cell that several methods were run for: same paper, task, data set, language, base model, metric
and conditions. `contests` turns set-ups into who beat whom; here the scores themselves are kept, so that a forecast
can say by how much. What does not count is the same: base models that were trained too, outputs that mostly did not
parse, short search runs.

Three sources: rows with scores; rows that give a score and its difference from full fine-tuning or from the untuned
base model; and the published runs of PEFT's own comparison (`peft_method_comparison.csv`), which add methods to the
rows of the same comparison. Comparisons without numbers are `statements`: they bound a ratio from both sides.

Not covered: differences given without a level ("1.99 BLEU better"), ranges ("up to +78 %"), and scores of methods that
were published without a rival.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from advisor.catalog.base_models import all_base_models
from advisor.catalog.files import knowledge_folder, read_rows
from advisor.evidence.base_model_strength import ability_of
from advisor.evidence.contests import CONDITIONS, EXCLUDED, ONE_RATE_WEIGHT, QUANTIZED_METHODS, points
from advisor.evidence.papers import Paper
from advisor.evidence.rows import EvidenceRow, OutcomeName

MethodFamily = Literal["additive", "selective", "reparameterized", "hybrid", "full", "untuned"]

COMPARISON_PAPER = "peft2026comparison"
COMPARISON_FILE = "peft_method_comparison.csv"
_GENERAL = "general"
# How many bottom layers were frozen is the method, not the condition it was tried under.
_PART_OF_THE_METHOD = re.compile(r"freeze_bottom_")
# Names under which a paper lists one base model tuned in different ways (wang2023oneadapter: on six languages at once).
_SAME_BASE = {
    "mAdapter-CodeBERT(ours)": "mCodeBERT", "mAdapter-GraphCodeBERT(ours)": "mGraphCodeBERT",
}  # fmt: skip
_SIZE_IN_NAME = re.compile(r"(\d+(?:\.\d+)?)\s*([BM])\b", re.IGNORECASE)
_RELATIVE_GAIN = re.compile(r"~?\+?(-?\d+(?:\.\d+)?)\s*%$")
# Names that mean one method: quantized storage of the base model, and spellings of PEFT's result files.
SAME_METHOD = {
    **QUANTIZED_METHODS, "ln-tuning": "layernorm-tuning", "adaption-prompt": "llama-adapter", "full-finetuning": "full",
}  # fmt: skip
_LORA_VARIANTS = ("dora", "rslora", "bdlora", "lorafa", "mica")
# What a comparison without numbers says about the ratio of two scores: our reading, bounds of an interval.
OUTCOME_RATIOS: dict[OutcomeName, tuple[float, float]] = {
    "better": (1.0, 1.3), "similar": (0.95, 1.05), "slightly worse": (0.9, 1.0), "worse": (0.7, 0.97),
}  # fmt: skip

# Families of the review (haque2025slr) and, inside them, what works alike: forecasts of scarce methods lean on both.
GROUPS: dict[str, tuple[MethodFamily, tuple[str, ...]]] = {
    "low-rank": (
        "reparameterized",
        (
            "lora", "lora-plus", "rslora", "dora", "adalora", "miss", "lily", "delora", "loha", "lokr", "vera", "pvera",
            "vblora", "gralora", "bdlora", "lorafa", "mica", "intrinsic-said", "randlora", "pissa", "olora", "eva",
            "corda", "loftq", "ff-lora", "peanut", "glora", "adamss", "tinylora", "unilora", "xlora", "poly",
            "hira",
        ),
    ),
    "rotation": ("reparameterized", ("oft", "boft", "hra", "psoft", "road", "osf", "deft")),
    "spectral": ("reparameterized", ("fourierft", "c3a", "frod", "waveft")),
    "adapter": (
        "additive",
        (
            "adapter", "adapter-houlsby", "adapter-pfeiffer", "adapter-parallel", "adapter-stack",
            "adapter-fusion", "advfusion", "compacter", "reft", "shadow",
        ),
    ),
    "soft-prompt": (
        "additive",
        (
            "prompt-tuning", "prefix-tuning", "p-tuning", "pass-tuning", "llama-adapter", "multitask-prompt-tuning",
            "cpt", "cartridge",
        ),
    ),
    "rescaling": ("additive", ("ia3",)),
    "layers": ("selective", ("layer-freezing",)),
    "sparse": ("selective", ("shira", "diff-pruning", "trainable-tokens", "supertuning")),
    "biases and norms": ("selective", ("bitfit", "layernorm-tuning", "beft")),
    "mixed": ("hybrid", ("mam", "unipelt", "mixture-of-experts", "ff-lora-adapter")),
    "full": ("full", ("full",)),
    "untuned": ("untuned", ("zero-shot", "icl")),
}  # fmt: skip
GROUP_OF: dict[str, str] = {slug: group for group, (_, slugs) in GROUPS.items() for slug in slugs}
FAMILY_OF: dict[str, MethodFamily] = {slug: family for family, slugs in GROUPS.values() for slug in slugs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one method scored in a set-up: points of 100, the mean where several configurations were published."""

    method: str
    score: float
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a set-up is about.

    Attributes:
        paper: Key.
        task: Slug, or "general" for language tasks.
        ability: What the task needs, as in `base_model_strength`; "general" for language tasks.
        kind: "generative" or "non-generative"; language tasks count by the architecture of the model.
        architecture: Of the base model, None when several or not stated.
        params: Parameters of the base model, None when not known.
        model: Name of the base model in the paper.
        weight: Trust in the source (see `rows.SEEN_WEIGHT`).
        method_weight: Halved where all methods shared one learning rate.
    """

    paper: str
    task: str
    ability: str
    kind: str
    architecture: str | None
    params: int | None
    model: str
    weight: float
    method_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySetup:
    """Scores that may be compared: at least two methods."""

    setting: Setting
    metric: str
    higher_is_better: bool
    readings: tuple[Reading, ...]

    def reading(self, method: str) -> Reading | None:
        """Return what a method scored, None where it was not run."""
        return next((one for one in self.readings if one.method == method), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A comparison without numbers: the ratio of the scores of `method` and `versus` lies between two bounds."""

    setting: Setting
    method: str
    versus: str
    low: float
    high: float
    evidence: str


def quality_setups(rows: Iterable[EvidenceRow], papers: Mapping[str, Paper]) -> tuple[QualitySetup, ...]:
    """Return every set-up with scores of two methods or more, in the order of the rows."""
    usable = [row for row in rows if row.metric and row.method and not row.outcomes]
    usable = [row for row in usable if not EXCLUDED.intersection(row.caveats)]
    deltas = _deltas()
    found: list[QualitySetup | None] = []
    shared: dict[tuple[object, ...], list[EvidenceRow]] = defaultdict(list)
    for row in usable:
        if row.value is not None and row.method != "other-baseline":
            shared[_key(row)].append(row)
    found += [_setup(group, papers) for group in shared.values()]
    met = {id_ for one in found if one for reading in one.readings for id_ in reading.evidence}
    found += [_from_delta(row, deltas[row.id], papers) for row in usable if row.id in deltas and row.id not in met]
    return tuple(one for one in found if one is not None)


def statements(rows: Iterable[EvidenceRow], papers: Mapping[str, Paper]) -> tuple[Statement, ...]:
    """Return what comparisons without numbers say, about methods of a known family."""
    return tuple(
        Statement(
            setting=_setting(row, papers), method=slug_of(said.method), versus=slug_of(said.versus),
            low=OUTCOME_RATIOS[said.outcome][0], high=OUTCOME_RATIOS[said.outcome][1], evidence=row.id,
        )
        for row in rows
        for said in row.outcomes
        if slug_of(said.method) in FAMILY_OF and slug_of(said.versus) in FAMILY_OF
    )  # fmt: skip


def slug_of(method: str) -> str:
    """Return the slug under which a method is counted: QLoRA is LoRA on a quantized base model."""
    return SAME_METHOD.get(method, method)


def _key(row: EvidenceRow) -> tuple[object, ...]:
    conditions = tuple(str(row.hyperparameters.get(name)) for name in CONDITIONS)
    conditions = tuple("" if _PART_OF_THE_METHOD.match(one) else one for one in conditions)
    model = _SAME_BASE.get(row.model or "", row.model)
    return (row.paper, row.task, row.dataset, row.language, model, row.metric, conditions)


def _setup(group: list[EvidenceRow], papers: Mapping[str, Paper]) -> QualitySetup | None:
    first = group[0]
    metric = first.metric or ""
    largest = max(abs(row.value or 0.0) for row in group)
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for row in group:
        if slug_of(row.method or "") in FAMILY_OF:
            scores[slug_of(row.method or "")][row.id] = points(row.value or 0.0, metric, row.finding, largest)
    full = next((row for row in group if row.baseline_full is not None), None)
    if full is not None and "full" not in scores:
        scores["full"][full.id] = points(full.baseline_full or 0.0, metric, full.finding, largest)
    if first.paper == COMPARISON_PAPER:
        _add_comparison_runs(scores)
    if len(scores) < 2:
        return None
    readings = tuple(
        Reading(method=method, score=sum(one.values()) / len(one), evidence=tuple(id_ for id_ in one if "#" not in id_))
        for method, one in sorted(scores.items())
    )
    return QualitySetup(
        setting=_setting(first, papers), metric=metric, higher_is_better=first.higher_is_better, readings=readings
    )


def _add_comparison_runs(scores: dict[str, dict[str, float]]) -> None:
    """Add the runs of PEFT's comparison that the rows do not have: methods, or further configurations of them."""
    with (knowledge_folder() / COMPARISON_FILE).open(encoding="utf-8", newline="") as file:
        for run in csv.DictReader(file):
            method, score = method_of_run(run["experiment"]), 100.0 * float(run["test_metric_final"])
            known = method in FAMILY_OF and not any(abs(score - one) < 0.01 for one in scores[method].values())
            if known:
                scores[method][f"#{run['experiment']}"] = score
    for method in [method for method, runs in scores.items() if not runs]:
        del scores[method]


def method_of_run(experiment: str) -> str:
    """Return the slug of "lora/llama-3.2-3B-rank32-dora": the folder, or the variant of LoRA at the end."""
    folder, _, name = experiment.partition("/")
    variant = next((one for one in _LORA_VARIANTS if folder == "lora" and name.endswith(f"-{one}")), "")
    spelled = {"prefixtuning": "prefix-tuning", "adaptionprompt": "adaption-prompt", "ptuning": "p-tuning"}
    return slug_of(variant or spelled.get(folder, folder.replace("_", "-")))


def _deltas() -> dict[str, tuple[str, Any]]:
    """Return rival and difference by id of the row, for rows that name both."""
    rivals = ("zero-shot", "full", "icl")
    return {
        row["id"]: (row["versus"], row["delta"])
        for row in read_rows("evidence.jsonl", containing=('"delta"',))
        if row.get("versus") in rivals and row.get("delta") is not None and row.get("baseline_full") is None
    }


def _from_delta(row: EvidenceRow, said: tuple[str, Any], papers: Mapping[str, Paper]) -> QualitySetup | None:
    versus, delta = said
    metric, method = row.metric or "", slug_of(row.method or "")
    if method not in FAMILY_OF:
        return None
    if row.value is not None and isinstance(delta, (int, float)):
        scale = 100.0 if abs(row.value) <= 1.0 else 1.0
        own, other = scale * row.value, scale * (row.value - delta)
    elif row.value is None and "relative" in metric and (gain := _RELATIVE_GAIN.match(str(delta))):
        # Only the ratio is known: the level does not matter to it, 50 points keep it away from the scores near zero.
        own, other = 50.0, 50.0 / (1.0 + float(gain.group(1)) / 100.0)
    else:
        return None
    pair = sorted([(method, own), (versus, other)])
    return QualitySetup(
        setting=_setting(row, papers), metric=metric, higher_is_better=row.higher_is_better,
        readings=tuple(Reading(method=name, score=score, evidence=(row.id,)) for name, score in pair),
    )  # fmt: skip


def _setting(row: EvidenceRow, papers: Mapping[str, Paper]) -> Setting:
    kind, ability = row.task_kind, _GENERAL
    if row.task == _GENERAL:
        kind = "non-generative" if row.architecture == "encoder-only" else "generative"
    else:
        ability = ability_of(row.task)
    one_rate = "one-learning-rate" in papers[row.paper].caveats
    return Setting(
        paper=row.paper, task=row.task, ability=ability, kind=kind, architecture=row.architecture,
        params=_params(row), model=_SAME_BASE.get(row.model or "", row.model or ""), weight=row.weight,
        method_weight=ONE_RATE_WEIGHT if one_rate else 1.0,
    )  # fmt: skip


def _params(row: EvidenceRow) -> int | None:
    name = (row.hf_id or "").rsplit("/", 1)[-1].lower()
    known = next((model.params for model in all_base_models() if name == model.name.lower()), None)
    sizes: list[tuple[str, str]] = _SIZE_IN_NAME.findall(row.model or "")
    if known is not None or len(sizes) != 1:
        return known
    number, unit = sizes[0]
    return round(float(number) * (1e9 if unit.upper() == "B" else 1e6))
