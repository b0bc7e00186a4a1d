"""Adapters of trials on disk: `trials/<number>/adapter`, only of trials that may still be needed.

A study tries many candidates and a disk is finite: the adapters of the recommendation and of the best trial
so far stay, the others go.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

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
    final = adapter_folder(folder, number)
    unfinished = final.with_name("adapter.part")
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        runner.save(number, unfinished)
        unfinished.replace(final)
    except OSError as error:
        raise AdvisorError(
            f"{final}: the adapter cannot be saved ({error.strerror or error}); run again to go on"
        ) from error


def remove_others(folder: Path, keep: Collection[int]) -> None:
    """Remove the adapters of all trials but those in `keep`; what a kill left half-written goes too."""
    for trial in (folder / FOLDER_NAME).glob("*"):
        if trial.name.isdecimal() and int(trial.name) not in keep:
            shutil.rmtree(trial, ignore_errors=True)
