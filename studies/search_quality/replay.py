"""Whole studies against the simulated runner: what is the best found so far really worth?

`warm`, `wrong` and `cold` go through the product (`advisor.search.run_search`): sampler, pruner, warm starts, order of
decisions as they are. `cold` has no knowledge: its one warm start, which a study must have, is a random point, and no
larger learning rates of it are tried.
`random` and `hyperband` are Optuna's own classes with their defaults, on the same space and runner.
"""

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Literal
from unittest.mock import patch

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from advisor.candidates import Candidate
from advisor.result import Plan
from advisor.search import (
    PRUNER_NAME,
    SAMPLER_NAME,
    StudySettings,
    loop,
    quiet_optuna,
    run_search,
    sampling,
    warm_starts,
)
from advisor.search import study as study_settings
from advisor.search.distributions import parameters_of, suggest
from advisor.search.outcome import N_FINALISTS
from advisor.trial import TrialSpec
from advisor.tuning.planning import RUNG_SHARES
from studies.search_quality.problem import Problem, draw
from studies.search_quality.simulated_runner import SimulatedRunner, point_of
from studies.search_quality.surrogate import Point, Surrogate

Arm = Literal["warm", "wrong", "cold", "random", "hyperband"]
ARMS: tuple[Arm, ...] = ("warm", "wrong", "cold", "random", "hyperband")
# A recommendation is wrong when it is drawn from the worst share of the space.
WORST_SHARE = 0.1
# Seeds of the noise in the finals lie beyond those of the searches.
_FINAL_SEED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One replayed study.

    Attributes:
        regrets: After each trial: noise-free best of the surrogate minus noise-free value of the trial that the study
            would pick, the complete one with the highest reported value.
        steps: Optimizer steps so far, after each trial.
        n_pruned: Trials that were stopped early.
        final_regret: As `regrets`, of the trial that the finals choose at the end: the three best and the
            recommendation, each with two further seeds; the highest mean wins.
    """

    regrets: tuple[float, ...]
    steps: tuple[int, ...]
    n_pruned: int
    final_regret: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    point: Point
    value: float  # last reported
    is_complete: bool
    steps: int  # of this trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Studies of one problem.

    Attributes:
        problem: Space, warm starts, task.
        surrogate: Answers for the trials.
        worst: Points of the worst share of the space, by noise-free value at the last rung.
    """

    problem: Problem
    surrogate: Surrogate
    worst: tuple[Point, ...]

    @classmethod
    def of(cls, problem: Problem, surrogate: Surrogate, *, seed: int, n_searched: int = 500) -> "Replay":
        """Find the worst points and put both together."""
        rng = Random(f"worst:{seed}")
        points = [draw(problem.space, rng) for _ in range(n_searched)]
        points.sort(key=lambda point: surrogate.mean_curve(point)[-1])
        return cls(problem=problem, surrogate=surrogate, worst=tuple(points[: int(WORST_SHARE * n_searched)]))

    def study(self, arm: Arm, n_trials: int, seed: int, folder: Path) -> Trace:
        """Replay one study; the folder is removed afterwards."""
        if arm == "random":
            return self.plain(RandomSampler(seed=seed), NopPruner(), n_trials, seed)
        if arm == "hyperband":
            steps = self.surrogate.steps
            # `hyperband` reports at every recorded rung: its brackets are what makes early ones safe.
            pruner = HyperbandPruner(min_resource=steps[0], max_resource=steps[-1], reduction_factor=2)
            return self.plain(TPESampler(seed=seed), pruner, n_trials, seed, steps=steps)
        with changed({"RATE_STEP": 1} if arm == "cold" else {}):
            return self._product(self.warm_starts(arm, seed), n_trials, seed, folder)

    def warm_starts(self, arm: Arm, seed: int) -> tuple[Candidate, ...]:
        """Return what a study of this arm tries first."""
        rng = Random(f"{arm}:{seed}")
        given = self.problem.warm_starts
        if arm == "warm":
            return given
        points = rng.sample(self.worst, len(given)) if arm == "wrong" else [draw(self.problem.space, rng)]
        return tuple(self.problem.candidate(method, dict(values)) for method, values in points)

    def regret(self, point: Point) -> float:
        """Return how far a point's noise-free value lies below the best of the space."""
        return self.surrogate.best - self.surrogate.mean_curve(point)[-1]

    @property
    def rung_steps(self) -> tuple[int, ...]:
        """Rungs as `tune` places them."""
        return tuple(round(self.surrogate.steps[-1] * share) for share in RUNG_SHARES)

    def _runner(self, seed: int) -> SimulatedRunner:
        def curves(point: Point, noise_seed: int) -> dict[int, float]:
            return dict(zip(self.surrogate.steps, self.surrogate.curve(point, noise_seed), strict=True))

        return SimulatedRunner(
            space=self.problem.space, curves=curves, metric=self.problem.task.primary_metric, noise_seed=seed
        )

    def _product(self, warm_starts: tuple[Candidate, ...], n_trials: int, seed: int, folder: Path) -> Trace:
        metric = self.problem.task.primary_metric
        settings = StudySettings(
            task=self.problem.task.slug, base_model="recorded", metric=metric, data={}, seed=seed,
            rung_steps=self.rung_steps, space=self.problem.space, warm_starts=warm_starts,
        )  # fmt: skip
        plan = Plan(
            n_trials=n_trials, time_limit_s=None, rung_steps=self.rung_steps, sampler=SAMPLER_NAME, pruner=PRUNER_NAME,
            device="recorded", primary_metric=metric,
        )  # fmt: skip
        folder.mkdir(parents=True)
        try:
            outcome = run_search(
                folder, settings, plan, self._runner(seed),
                clock=lambda: 0.0, on_event=lambda event: None, interrupted=lambda: False,
            )  # fmt: skip
        finally:
            shutil.rmtree(folder)
        ended = {
            record.number: _Ended(
                point=point_of(record.candidate, self.problem.space), value=record.value or 0.0,
                is_complete=record.state == "complete", steps=record.reports[-1].step,
            )
            for record in outcome.records
        }  # fmt: skip
        return self._trace(list(ended.values()), [ended[record.number] for record in outcome.finalists], seed)

    def plain(
        self,
        sampler: BaseSampler,
        pruner: BasePruner,
        n_trials: int,
        seed: int,
        *,
        steps: tuple[int, ...] | None = None,
        warm_starts: Sequence[Candidate | None] = (),
    ) -> Trace:
        """Replay a study in memory, without the product's loop.

        Args:
            sampler: Any.
            pruner: Any; it does not stop the first warm start.
            n_trials: Trials.
            seed: Of the noise.
            steps: Rungs; None for those of `tune`.
            warm_starts: Tried first, in this order; None stands for a trial that the sampler draws.
        """
        rungs = steps or self.rung_steps
        runner = self._runner(seed)
        ended: list[_Ended] = []

        def objective(trial: optuna.Trial) -> float:
            method, values = suggest(trial, self.problem.space)
            candidate = self.problem.candidate(method, values)
            runner.start(TrialSpec(number=trial.number, candidate=candidate, seed=0, rung_steps=rungs))
            pruned = False
            while not pruned:
                (report,) = runner.advance()
                value = report.metrics[runner.metric]
                trial.report(value, report.step)
                if report.step == rungs[-1]:
                    break
                pruned = trial.should_prune() and not (trial.number == 0 and warm_starts)
            runner.stop(trial.number)
            ended.append(_Ended(point=(method, values), value=value, is_complete=not pruned, steps=report.step))
            if pruned:
                raise optuna.TrialPruned
            return value

        with quiet_optuna(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(
                # Hyperband gives trials to brackets by a hash of this name.
                study_name=f"replay-{seed}", direction="maximize", sampler=sampler, pruner=pruner,
            )  # fmt: skip
            for warm_start in warm_starts:
                study.enqueue_trial(dict(parameters_of(warm_start, self.problem.space)) if warm_start else {})
            study.optimize(objective, n_trials)
        best = sorted((one for one in ended if one.is_complete), key=lambda one: -one.value)
        return self._trace(ended, best[:N_FINALISTS], seed)

    def _trace(self, ended: Sequence[_Ended], finalists: Sequence[_Ended], seed: int) -> Trace:
        regrets, steps = [], []
        n_steps = 0
        best: _Ended | None = None
        for one in ended:
            n_steps += one.steps
            # A complete trial is worth more than any that was stopped: only those have an adapter to deliver.
            if best is None or (one.is_complete, one.value) > (best.is_complete, best.value):
                best = one
            regrets.append(self.regret(best.point))
            steps.append(n_steps)
        winner = max(finalists, key=lambda one: self._final_value(one, seed))
        return Trace(
            regrets=tuple(regrets),
            steps=tuple(steps),
            n_pruned=sum(not one.is_complete for one in ended),
            final_regret=self.regret(winner.point),
        )

    def _final_value(self, one: _Ended, seed: int) -> float:
        """Return the mean over the value that the search saw and those of two further seeds."""
        further = (self.surrogate.curve(one.point, _FINAL_SEED * number + seed)[-1] for number in (1, 2))
        return fmean((one.value, *further))


@contextmanager
def changed(changes: Mapping[str, float]) -> Iterator[None]:
    """Give settings of the search other values: `N_RANDOM_TRIALS`, `N_FREE_TRIALS`, `WARM_START_SHARE`, `RATE_STEP`."""
    with ExitStack() as stack:
        for name, number in changes.items():
            module = next(one for one in (loop, sampling, study_settings, warm_starts) if hasattr(one, name))
            stack.enter_context(patch.object(module, name, type(getattr(module, name))(number)))
        yield


def at_steps(trace: Trace, budget: int) -> float | None:
    """Return the regret when so many optimizer steps are spent; None before the first trial has ended."""
    spent = [regret for regret, steps in zip(trace.regrets, trace.steps, strict=True) if steps <= budget]
    return spent[-1] if spent else None
