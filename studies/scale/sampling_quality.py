"""Does a sampler that looks at a part of a long history find worse points?

Studies over the real space with a made-up truth: each method has a ceiling, which falls with the squared distance from
a best point; all are drawn from the seed. Noise is that of the recorded trainings (`studies/search_quality/results`:
standard deviation 0.016). Every trial goes to its end. The part is much smaller than the one proposed, so that the cut
comes early.
"""

import random
import statistics
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from advisor.search.asking import limited
from advisor.search_space import SearchSpace
from studies.scale.client import points, settings
from studies.scale.sampling_cost import Draw, draw_shared
from studies.search_quality.surrogate import coordinates

N_BEST, N_LATEST = 50, 150
NOISE = 0.016
N_LAST = 200


class Truth:
    """What a point is worth."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        """Draw ceilings and best points."""
        rng = random.Random(seed)
        self._space = space
        self._ceilings = {part.method: rng.uniform(0.7, 0.9) for part in space.methods}
        self._best = {part.method: [rng.random() for _ in part.dimensions] for part in space.methods}

    def regret(self, params: dict[str, Any]) -> float:
        """Return by how much a point is worse than the best ceiling."""
        method = params["method"]
        values = {name.removeprefix(f"{method}."): value for name, value in params.items() if name != "method"}
        own = coordinates((method, values), self._space)
        off = sum((one - best) ** 2 for one, best in zip(own, self._best[method], strict=True))
        return max(self._ceilings.values()) - self._ceilings[method] + 0.3 * off


def draw_cut(trials: Sequence[FrozenTrial], space: SearchSpace, seed: int) -> dict[str, Any]:
    """Draw from a small part of the history."""
    return draw_shared(limited(trials, n_best=N_BEST, n_latest=N_LATEST), space, seed)


def measure_quality(n_seeds: int, n_trials: int) -> dict[str, Any]:
    """Return regrets of whole and cut histories, paired by seed."""
    rows = []
    for seed in range(n_seeds):
        for name, draw in (("whole", draw_shared), ("cut", draw_cut)):
            rows.append({"history": name, "seed": seed, **_study(draw, seed, n_trials)})
            print(rows[-1], flush=True)
    return {"n_trials": n_trials, "n_best": N_BEST, "n_latest": N_LATEST, "studies": rows}


def _study(draw: Draw, seed: int, n_trials: int) -> dict[str, float]:
    space, rng = settings().space, random.Random(seed)
    truth = Truth(space, seed)
    distributions = {name: one for point in points() for name, one in point.distributions.items()}
    trials: list[FrozenTrial] = []
    regrets = []
    for number in range(n_trials):
        params = draw(trials, space, seed)
        regrets.append(truth.regret(params))
        trial = create_trial(
            state=TrialState.COMPLETE, value=0.9 - regrets[-1] + rng.gauss(0.0, NOISE), params=params,
            distributions={name: distributions[name] for name in params},
        )  # fmt: skip
        trial.number = number
        trials.append(trial)
    chosen = max(range(n_trials), key=lambda number: trials[number].value or 0.0)
    return {
        "regret_of_chosen": regrets[chosen], "lowest_regret": min(regrets),
        "mean_regret_of_last": statistics.fmean(regrets[-N_LAST:]),
    }  # fmt: skip
