"""Adapters of trials on disk: `trials/<number>/adapter`, only of trials that may still be needed.

A study tries many candidates and a disk is finite: the adapters of the recommendation, of the best trials so far and of
the front of trade-offs stay, the others go.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from advisor.durable import put_in_place, sync_tree
from advisor.errors import AdvisorError
from advisor.trial import TrialRunner

FOLDER_NAME = "trials"


def adapter_folder(folder: Path, number: int) -> Path:
    """Return where the adapter of a trial lies in a run folder (it may not be there)."""
    return folder / FOLDER_NAME / str(number) / "adapter"


def save_adapter(folder: Path, runner: TrialRunner, number: int) -> None:
    """Save the adapter of a live trial; it appears whole or not at all.

    Raises:
        AdvisorError: The disk refused it.
    """
    save_adapter_as(adapter_folder(folder, number), runner, number)


def save_adapter_as(final: Path, runner: TrialRunner, number: int) -> None:
    """Save the adapter of a live trial as the folder `final`; it appears whole or not at all.

    Raises:
        AdvisorError: The disk refused it.
    """
    unfinished = final.with_name(f"{final.name}.part")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        runner.save(number, unfinished)
        sync_tree(unfinished)
        shutil.rmtree(final, ignore_errors=True)
        put_in_place(unfinished, final)
    except OSError as error:
        raise AdvisorError(
            f"{final}: the adapter cannot be saved ({error.strerror or error}); run again to go on"
        ) from error


def remove_others(folder: Path, keep: Collection[int], *, among: Collection[int] | None = None) -> None:
    """Remove the adapters of all trials but those in `keep`; what a kill left half-written goes too.

    Args:
        folder: Run folder.
        keep: Trials whose adapters are needed.
        among: Trials whose adapters may be removed, None for all: others may be writing theirs at this moment.
    """
    for trial in (folder / FOLDER_NAME).glob("*"):
        if trial.name.isdecimal() and int(trial.name) not in keep and (among is None or int(trial.name) in among):
            shutil.rmtree(trial, ignore_errors=True)
