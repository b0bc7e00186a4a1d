"""What a trial reported, fit to be kept."""

import math
from dataclasses import replace

from advisor.trial import RungReport, TrialFailure


def checked(report: RungReport, metric: str) -> RungReport:
    """Keep only finite numbers (JSON and Optuna refuse others); a trial without its metric has failed."""
    metrics = {name: value for name, value in report.metrics.items() if math.isfinite(value)}
    loss = report.train_loss if report.train_loss is not None and math.isfinite(report.train_loss) else None
    failure = report.failure
    if failure is None and metric not in metrics:
        failure = TrialFailure(kind="error", message=f"the validation metric {metric} is not a number")
    return replace(report, metrics=metrics, train_loss=loss, failure=failure)
