"""Hyperparameters as used in the evidence: a robust centre and spread per task, architecture and method.

Every paper has one say (a sweep its best setting, else the median of its rows), weighted by how near its task and
architecture are and by what was seen of it. The centre is the weighted median, so that one odd recipe moves
nothing. The catalogue's default has a voice too. A rate that a study shared between all methods says little
about any of them and counts a quarter. DoRA and rsLoRA listen to LoRA's rows as well, for what they share.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

from advisor.catalog.methods import METHODS
from advisor.catalog.tasks import Task
from advisor.evidence.contests import method_of
from advisor.evidence.digest import Setting
from advisor.evidence.papers import Paper
from advisor.evidence.rows import EvidenceRow
from advisor.spec import Architecture

# Name in the evidence -> PEFT's or transformers' name.
NAMES = {
    "lr": "learning_rate", "r": "r", "dropout": "lora_dropout", "num_virtual_tokens": "num_virtual_tokens",
    "epochs": "num_epochs", "lr_ratio_B_over_A": "loraplus_lr_ratio",
}  # fmt: skip
# A rate or rank depends more on the architecture than on the task.
_OTHER_TASK, _OTHER_KIND = 0.6, 0.3
_MIXED_ARCHITECTURE, _OTHER_ARCHITECTURE = 0.6, 0.1
_ONE_RATE = 0.25
_RELATIVES = {"dora": "lora", "rslora": "lora"}
_RELATIVE = 0.5
_DEFAULT_VOICE = 0.5
_HEARD = 0.15  # voices below are too far away to be counted as papers


Voice = tuple[float, float, EvidenceRow]  # value, weight, row it is read from


def settings(
    task: Task,
    architecture: Architecture,
    methods: Sequence[str],
    rows: Sequence[EvidenceRow],
    papers: Mapping[str, Paper],
) -> dict[str, dict[str, Setting]]:
    """Return the settings of these methods for a task and architecture; methods without any are left out."""
    found: dict[str, dict[str, Setting]] = {}
    for slug in methods:
        method = METHODS[slug]
        defaults = method.hyperparameters(architecture)
        own = [row for row in rows if method_of(row) == slug and "unfrozen-base" not in row.caveats]
        related = [row for row in rows if method_of(row) == _RELATIVES.get(slug)]
        for theirs, name in NAMES.items():
            if name not in defaults:
                continue
            voices = _voices(theirs, task, architecture, own, papers)
            if name != "r":
                near = _voices(theirs, task, architecture, related, papers)
                voices += [(value, weight * _RELATIVE, row) for value, weight, row in near]
            setting = _setting(voices, float(defaults[name]), task)
            if setting is not None:
                found.setdefault(slug, {})[name] = setting
    return found


def _voices(
    name: str, task: Task, architecture: str, rows: Sequence[EvidenceRow], papers: Mapping[str, Paper]
) -> list[Voice]:
    """Return what each paper says, where it is nearest."""
    groups: dict[tuple[str, str, str | None], list[EvidenceRow]] = defaultdict(list)
    for row in rows:
        if _number(row.hyperparameters.get(name)) is not None:
            groups[(row.paper, row.task, row.architecture)].append(row)
    nearest: dict[str, Voice] = {}
    for (paper, _, _), group in sorted(groups.items(), key=lambda item: str(item[0])):
        weight = _nearness(group[0], task, architecture) * max(row.weight for row in group)
        if name == "lr" and "one-learning-rate" in (*papers[paper].caveats, *group[0].caveats):
            weight *= _ONE_RATE
        if paper not in nearest or weight > nearest[paper][1]:
            value, row = _say(name, group)
            nearest[paper] = (value, weight, row)
    return list(nearest.values())


def _setting(voices: list[Voice], default: float, task: Task) -> Setting | None:
    heard = sorted((voice for voice in voices if voice[1] >= _HEARD), key=lambda voice: (-voice[1], voice[2].id))
    if not heard:
        return None
    all_voices = sorted([(value, weight) for value, weight, _ in voices] + [(default, _DEFAULT_VOICE)])
    return Setting(
        value=_quantile(all_voices, 0.5),
        low=_quantile(all_voices, 0.1),
        high=_quantile(all_voices, 0.9),
        papers=len(heard),
        on_task=sum(voice[2].task == task.slug for voice in heard),
        evidence=tuple(voice[2].id for voice in heard[:3]),
    )


def _say(name: str, group: Sequence[EvidenceRow]) -> tuple[float, EvidenceRow]:
    """Return the value a paper stands for: that of its best run when it tried several in one set-up."""
    values = {_number(row.hyperparameters.get(name)) for row in group}
    scored = [row for row in group if row.value is not None and row.metric]
    one_setup = len({(row.dataset, row.language, row.model, row.metric) for row in scored}) == 1
    if len(values) > 1 and one_setup and len(scored) == len(group):
        best = max(scored, key=lambda row: (row.value or 0.0) * (1 if row.higher_is_better else -1))
        return _number(best.hyperparameters[name]) or 0.0, best
    middle = median(_number(row.hyperparameters[name]) or 0.0 for row in group)
    return middle, min(group, key=lambda row: (abs((_number(row.hyperparameters[name]) or 0.0) - middle), row.id))


def _nearness(row: EvidenceRow, task: Task, architecture: str) -> float:
    share = 1.0 if row.task == task.slug else _OTHER_TASK if row.task_kind in (task.kind, "general") else _OTHER_KIND
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


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
