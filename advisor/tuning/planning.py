"""How long trials train, how many there are, and what fixes the study."""

import math

from advisor.candidates import Candidate
from advisor.errors import InputError

# Rungs at a quarter, a half and all of the steps: two chances to stop early, and the first is late enough that
# the learning-rate schedule has left its warm-up.
RUNG_SHARES = (1 / 4, 1 / 2, 1)


def rung_steps(candidate: Candidate, n_train: int, max_steps: int | None) -> tuple[int, ...]:
    """Return the optimizer steps at which the trials of a study report.

    All trials of a study train equally long: for the number of epochs that the recommendation names, on
    `n_train` examples, but no more than `max_steps`.

    Raises:
        InputError: The recommendation names no sensible number of epochs.
    """
    n_epochs = candidate.hyperparameters.get("num_epochs")
    if isinstance(n_epochs, bool) or not isinstance(n_epochs, (int, float)) or not 0 < n_epochs <= 1000:
        raise InputError(f"the recommendation has num_epochs {n_epochs!r}; it must be above 0 and at most 1000")
    n_steps = max(1, round(n_epochs * math.ceil(n_train / candidate.batch_size)))
    if max_steps is not None:
        n_steps = min(n_steps, max_steps)
    return tuple(sorted({max(1, round(n_steps * share)) for share in RUNG_SHARES}))
