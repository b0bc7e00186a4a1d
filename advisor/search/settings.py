"""What fixes a study: a study that was begun with other settings is not continued."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from advisor.candidates import Candidate
from advisor.records import to_plain
from advisor.search_space import SearchSpace
from advisor.trial import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """Everything that all trials of a study share; trials under other settings could not be compared.

    Attributes:
        task: Task slug.
        base_model: Hub id or local folder; of several that are searched the recommended one.
        metric: Primary metric, maximised on the validation split.
        data: SHA-256 of the file of each split.
        seed: Of data order, initialisation and sampler.
        rung_steps: Optimizer steps at which trials report; the last is the end of training.
        space: What is searched.
        warm_starts: Points tried first; the first is the recommendation.
        objectives: What is looked for, quality among it, in the order of `OBJECTIVES`.
    """

    task: str
    base_model: str
    metric: str
    data: Mapping[str, str]
    seed: int
    rung_steps: tuple[int, ...]
    space: SearchSpace
    warm_starts: tuple[Candidate, ...]
    objectives: tuple[Objective, ...] = ("quality",)

    def __post_init__(self) -> None:
        if not self.warm_starts:
            raise ValueError("a study needs at least one warm start: the recommendation")


_NAMES = {
    "base_model": "base model",
    "rung_steps": "training steps",
    "space": "searched methods or ranges",
    "warm_starts": "recommendation",
}


def first_difference(old: StudySettings, new: StudySettings) -> str | None:
    """Name the first setting that differs, with both values where they are short; None when all agree."""
    for field in fields(StudySettings):
        before, now = to_plain(getattr(old, field.name)), to_plain(getattr(new, field.name))
        if before == now:
            continue
        if field.name == "space" and (bases := _different_bases(old, new)):
            return bases
        if field.name in ("space", "warm_starts") and (adapters := _different_adapters(old, new)):
            return adapters
        name = _NAMES.get(field.name, field.name)
        if field.name == "data":
            splits = [split for split in now if before.get(split) != now[split]]
            return f"the content of the {' and '.join(splits) or 'data'} file differs"
        if field.name in ("space", "warm_starts"):
            return f"the {name} differ" if field.name == "space" else f"the {name} differs"
        return f"{name}: {before} then, {now} now"
    return None


def _different_bases(old: StudySettings, new: StudySettings) -> str | None:
    """Name the base models that are searched where they are not the same ones."""
    before, now = (", ".join(base.label for base in one.space.bases) or one.base_model for one in (old, new))
    return None if before == now else f"base models: {before} then, {now} now"


def _different_adapters(old: StudySettings, new: StudySettings) -> str | None:
    """Name the trained adapters that candidates are made of where they are not the same ones."""
    before, now = old.warm_starts[0].adapters, new.warm_starts[0].adapters
    if to_plain(before) == to_plain(now):
        return None
    names = [", ".join(one.folder for one in adapters) or "none" for adapters in (before, now)]
    if names[0] == names[1]:
        return "the content of the trained adapters differs"
    return f"trained adapters: {names[0]} then, {names[1]} now"
