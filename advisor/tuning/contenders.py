"""Who is evaluated on the test split: the winner and the recommendation, with every seed that decided between them."""
# ruff: noqa: TID253 - imported when a search has ended

import shutil
from collections.abc import Iterator
from pathlib import Path

from advisor.errors import AdvisorError
from advisor.result import Contender, Finals
from advisor.search.adapters import adapter_folder
from advisor.search.outcome import SearchOutcome
from advisor.trial import TrialRecord
from advisor.tuning.contest import BEST, RECOMMENDATION, Contest, TrainedSeed
from advisor.tuning.final_runs import final_adapter


def evaluate_trials(
    contest: Contest, outcome: SearchOutcome, finals: Finals | None, best_adapter: Path
) -> list[Contender]:
    """Evaluate the recommendation, where it gave a result, and the winner.

    Args:
        contest: Evaluates, and names the run folder.
        outcome: Of the search.
        finals: What decided; None where no trial is complete, so that there was nothing to decide.
        best_adapter: Folder to which the winner's adapter is copied: of the seed with the best validation value.

    Returns:
        The winner last.

    Raises:
        AdvisorError: An adapter is gone.
    """
    numbers = {record.number: record for record in outcome.records}
    winner = outcome.best if finals is None else numbers[finals.winner]
    best = contest.trial(BEST, winner, list(_trained(contest.folder, winner, finals)))
    if best.delivered is not None:
        _copy_folder(_adapter(contest.folder, winner, best.delivered.seed), best_adapter)
    recommended = outcome.recommended
    if recommended is None or recommended.state == "failed":
        return [best]
    if recommended.number == winner.number:
        return [contest.same(RECOMMENDATION, best), best]
    return [contest.trial(RECOMMENDATION, recommended, list(_trained(contest.folder, recommended, finals))), best]


def check_adapter(folder: Path, record: TrialRecord) -> None:
    """Refuse to go on without the adapter that a trial left in a run folder.

    Raises:
        AdvisorError: It is gone.
    """
    adapter = adapter_folder(folder, record.number)
    if not adapter.is_dir():
        raise AdvisorError(
            f"{adapter}: the adapter of trial {record.number} is gone; begin anew with another `--output`"
        )


def _trained(folder: Path, record: TrialRecord, finals: Finals | None) -> Iterator[TrainedSeed]:
    """Return the adapters of a trial: its own, and those of the finals that counted."""
    check_adapter(folder, record)
    values = {} if record.value is None else {record.seed: record.value}
    for finalist in finals.finalists if finals else ():
        if finals is not None and finalist.trial == record.number:
            counted = [one for one in finalist.values if one.seed in finals.counted]
            values |= {one.seed: one.value for one in counted if one.value is not None}
    for seed, value in values.items():
        adapter = _adapter(folder, record, seed)
        if adapter.is_dir():
            yield TrainedSeed(seed=seed, validation=value, adapter=adapter)


def _adapter(folder: Path, record: TrialRecord, seed: int) -> Path:
    if seed == record.seed:
        return adapter_folder(folder, record.number)
    return final_adapter(folder, (record.number, seed))


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder; the target is the old one or the whole new one, but for the moment of the exchange."""
    unfinished = target.with_name(target.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    if target.exists():
        shutil.rmtree(target)
    unfinished.replace(target)
