"""Which trackers there are, whether they are installed, and how to look at what they hold. Nothing is loaded here."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from advisor.errors import InputError

if TYPE_CHECKING:
    from advisor.tuning.trackers.contract import Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerEntry:
    """One tracker.

    Attributes:
        title: Its name for people.
        package: What is imported, and the extra of peft-advisor that installs it.
        home: Module and class that implement it.
        viewing: Command that shows what was tracked, `{folder}` for the run folder.
    """

    title: str
    package: str
    home: tuple[str, str]
    viewing: str


_HERE = "advisor.tuning.trackers"
TRACKERS: Mapping[str, TrackerEntry] = {
    "mlflow": TrackerEntry(
        title="MLflow",
        package="mlflow",
        home=(f"{_HERE}.mlflow", "MlflowTracker"),
        viewing="mlflow ui --backend-store-uri sqlite:///{folder}/mlflow/mlflow.db",
    ),
    "tensorboard": TrackerEntry(
        title="TensorBoard",
        package="tensorboard",
        home=(f"{_HERE}.tensorboard", "TensorBoardTracker"),
        viewing="tensorboard --logdir {folder}/tensorboard",
    ),
    "wandb": TrackerEntry(
        title="Weights & Biases",
        package="wandb",
        home=(f"{_HERE}.wandb", "WandbTracker"),
        viewing="wandb sync {folder}/wandb/offline-run-*",
    ),
    "trackio": TrackerEntry(
        title="Trackio",
        package="trackio",
        home=(f"{_HERE}.trackio", "TrackioTracker"),
        viewing="TRACKIO_DIR={folder}/trackio trackio show --project peft-advisor",
    ),
}


def check_trackers(names: Sequence[str]) -> None:
    """Find out whether trackers exist and are installed, without loading them.

    Raises:
        InputError: One is not; the message says how to install it.
    """
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"--track: {name} is not one of {', '.join(TRACKERS)}")
        package = TRACKERS[name].package
        if not is_installed(package):
            raise InputError(f"--track {name}: {package} is not installed; pip install 'peft-advisor[{package}]'")


def is_installed(package: str) -> bool:
    """Can the package be imported? A folder of its name, such as the one that W&B leaves behind, is no package."""
    found = find_spec(package)
    return found is not None and found.origin is not None


def make_tracker(name: str, folder: Path, study: str) -> "Tracker":
    """Load a tracker's package and return the tracker; nothing is written yet.

    Args:
        name: As in `TRACKERS`.
        folder: Run folder.
        study: Name of the study that no other study has.
    """
    module, attribute = TRACKERS[name].home
    made: Tracker = getattr(import_module(module), attribute)(folder, study)
    return made


def viewing_command(name: str, folder: Path) -> str | None:
    """Return the command line that shows, or for W&B uploads, what stands in a run folder; None when nothing does."""
    if not (folder / name).is_dir():
        return None
    return TRACKERS[name].viewing.format(folder=shlex.quote(str(folder.absolute())))
