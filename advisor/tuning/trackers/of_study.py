"""Tracking of a study that is about to run."""

from typing import TYPE_CHECKING

from advisor.tuning.trackers.facts import tracked_study
from advisor.tuning.trackers.tracking import Tracking
from advisor.tuning.versions import installed_versions

if TYPE_CHECKING:
    from advisor.tuning.study_run import StudyRun


def tracking_of(run: "StudyRun", device: str) -> Tracking:
    """Return what tells the trackers that were asked for; without any it does nothing.

    Args:
        run: The study.
        device: Such as "cpu" or "cuda (NVIDIA L4)".
    """
    request = run.request
    study = tracked_study(
        run.settings,
        title=f"{run.start.task.title}: {run.folder.absolute().name}",
        recommended=run.start.recommended,
        files=run.data.files,
        facts={
            "command": request.command,
            "device": device,
            "n_trials": str(request.n_trials),
            "final_seeds": str(request.final_seeds),
            "time_limit_s": "none" if request.limit_s is None else f"{request.limit_s:g}",
            **{f"version.{name}": version for name, version in installed_versions().items()},
        },
    )
    return Tracking(request.track, run.folder, study, run.clock)
