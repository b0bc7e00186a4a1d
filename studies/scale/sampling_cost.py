"""What drawing the next trial costs as the history grows, and what the history can be cut down to.

* `copied`: the study is copied into memory, trial by trial, for every draw (as `advisor.search.asking` did when this
  was written);
* `cut`: of the finished trials the best and the latest alone are copied, and all that run (as it does since);
* `shared`: the draft study looks at the trials as they are; it draws the same point as `copied`;
* `limited`: it looks so at what is left by the cut; it draws the same point as `cut`.
"""

import copy
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from advisor.search.asking import limited
from advisor.search.distributions import suggest, suggest_base
from advisor.search.sampling import make_sampler
from advisor.search_space import SearchSpace
from studies.scale.client import points, settings

Draw = Callable[[Sequence[FrozenTrial], SearchSpace, int], dict[str, Any]]


def draw_copied(trials: Sequence[FrozenTrial], space: SearchSpace, seed: int) -> dict[str, Any]:
    """Draw in a copy of the study."""
    draft = optuna.create_study(
        storage=InMemoryStorage(), direction="maximize", sampler=make_sampler(seed, len(trials))
    )
    draft.add_trials(trials)
    return _drawn(draft, space)


def draw_cut(trials: Sequence[FrozenTrial], space: SearchSpace, seed: int) -> dict[str, Any]:
    """Draw in a copy of the best, the latest and the running trials."""
    return draw_copied(limited(trials), space, seed)


def draw_shared(trials: Sequence[FrozenTrial], space: SearchSpace, seed: int) -> dict[str, Any]:
    """Draw in a study that looks at the trials themselves."""
    storage = _Shared(trials)
    return _drawn(
        optuna.create_study(storage=storage, direction="maximize", sampler=make_sampler(seed, len(trials))), space
    )


def draw_limited(trials: Sequence[FrozenTrial], space: SearchSpace, seed: int) -> dict[str, Any]:
    """Draw from the best, the latest and the running trials."""
    return draw_shared(limited(trials), space, seed)


DRAWS: dict[str, Draw] = {"copied": draw_copied, "cut": draw_cut, "shared": draw_shared, "limited": draw_limited}


class _Shared(InMemoryStorage):
    """A study of one new trial that has a history which is not copied."""

    def __init__(self, history: Sequence[FrozenTrial]) -> None:
        super().__init__()
        # The new trial has number 0 here, and the sampler leaves out what has its number.
        self._history = [_renumbered(trial) if trial.number == 0 else trial for trial in history]

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        new = super().get_all_trials(study_id, deepcopy, states)
        return [trial for trial in self._history if states is None or trial.state in states] + new


def _renumbered(trial: FrozenTrial) -> FrozenTrial:
    other = copy.copy(trial)
    other.number = -1  # before all others, as it was
    return other


def _drawn(draft: optuna.Study, space: SearchSpace) -> dict[str, Any]:
    drawn = draft.ask()
    suggest(drawn, space, suggest_base(drawn, space))
    return drawn.params


def history(n_finished: int, n_running: int, *, seed: int = 0) -> list[FrozenTrial]:
    """Return trials as a study would have them: of ten finished ones seven were pruned at the first rung."""
    rng, drawn = random.Random(seed), points(seed=seed)
    trials = []
    for number in range(n_finished + n_running):
        point, value = drawn[number % len(drawn)], rng.random()
        state = (
            TrialState.RUNNING
            if number >= n_finished
            else TrialState.PRUNED
            if number % 10 < 7
            else TrialState.COMPLETE
        )
        curve = (
            {4: value} if state != TrialState.COMPLETE else {4: 0.7 * value, 8: 0.8 * value, 16: 0.9 * value, 32: value}
        )
        trial = create_trial(
            state=state, value=None if state == TrialState.RUNNING else value, params=point.params,
            distributions=point.distributions, user_attrs=point.user_attrs, intermediate_values=curve,
        )  # fmt: skip
        trial.number = number
        trials.append(trial)
    return trials


def measure_sampling(
    sizes: Sequence[tuple[int, int]], *, repetitions: int = 3, names: Sequence[str] = tuple(DRAWS)
) -> list[dict[str, Any]]:
    """Measure each way to draw at sizes (finished, running); each in a process of its own."""
    rows = []
    for finished, running in sizes:
        trials = history(finished, running)
        for name in names:
            n = 1 if finished >= 100_000 and name == "copied" else repetitions
            receiver, sender = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.get_context("fork").Process(target=_measure, args=(name, trials, n, sender))
            process.start()
            row = {"draw": name, "finished": finished, "running": running, **receiver.recv()}
            process.join()
            rows.append(row)
            print(row, flush=True)
    return rows


def _measure(name: str, trials: Sequence[FrozenTrial], repetitions: int, sender: Any) -> None:
    space = settings().space
    draw_shared(trials[:50], space, 0)  # what libraries take once
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins at what is there
    before = _kib("VmHWM")
    took = []
    for seed in range(repetitions):
        began_s = time.process_time()
        DRAWS[name](trials, space, seed)
        took.append(time.process_time() - began_s)
    sender.send({"cpu_s": statistics.median(took), "peak_bytes": 1024 * (_kib("VmHWM") - before)})


def _kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field + ":")).split()[1])
