"""The same trials by this project's search and engine, as `tune` puts them together."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from optuna.pruners import NopPruner

from advisor.result import Plan
from advisor.search import StudySettings, run_search
from advisor.search import keeper as search_keeper
from advisor.search import loop as search_loop
from advisor.search.asking import ORIGIN
from advisor.search.checkpoints import Checkpoints
from advisor.search.journal import Journal
from advisor.search.sampling import SAMPLER_NAME
from advisor.search.study import PRUNER_NAME, open_study
from advisor.search.warm_starts import WARM_START
from advisor.training import runner as device_runner
from advisor.training.groups import Groups
from advisor.training.loop import Training
from advisor.training.packing.choice import best_pack
from advisor.training.packing.pack import Pack
from advisor.training.runner import DeviceRunner
from advisor.tuning.packing import LARGEST
from studies.throughput.setting import Outcome, Run, Setting


def run_engine(setting: Setting, seed: int, folder: Path, *, slots: int | None, prunes: bool) -> Run:
    """Run a whole study.

    Args:
        setting: What is trained.
        seed: Of initialisation, data order and dropout.
        folder: Empty; becomes the run folder.
        slots: Trials in a pack; None to measure, which counts.
        prunes: Stop trials by the search's own pruner, or none.
    """
    runner = DeviceRunner(setting.task, setting.examples, seed=seed, device="cpu")
    recommended = setting.candidates[0]
    details: dict[str, Any] = {}
    with Stopwatch() as watch:
        if slots is None:
            measured = runner.measure_packs(recommended, min(LARGEST, len(setting.candidates)))
            slots = best_pack(measured)
            details["packs_s"] = {one.size: one.duration_s for one in measured}
        runner.slots = slots
        settings = StudySettings(
            task=setting.task.slug, base_model=recommended.base_model, metric=setting.task.primary_metric, data={},
            seed=seed, rung_steps=setting.rung_steps, space=setting.space, warm_starts=(recommended,),
        )  # fmt: skip
        with ExitStack() as stack:
            if not prunes:
                stack.enter_context(patch.object(search_loop, "make_pruner", lambda *_: NopPruner()))
            outcome = _search(setting, settings, runner, folder)
    by_number = {record.number: record for record in outcome.records}
    trials = [by_number[number] for number in range(len(setting.candidates))]
    return Run(
        trials=tuple(Outcome(value=float(one.value or 0.0), n_steps=one.reports[-1].step) for one in trials),
        details={**details, "slots": slots, "seconds_in": dict(watch.seconds)},
    )


def _search(setting: Setting, settings: StudySettings, runner: DeviceRunner, folder: Path) -> Any:
    """Queue the candidates in a new study, then let the search run it."""
    study = open_study(folder, settings)
    for number, parameters in enumerate(setting.parameters):
        first = {ORIGIN: "recommendation", WARM_START: 0}
        study.enqueue_trial(parameters, user_attrs={ORIGIN: "sampler"} if number else first)
    plan = Plan(
        n_trials=len(setting.candidates), time_limit_s=None, rung_steps=setting.rung_steps, sampler=SAMPLER_NAME,
        pruner=PRUNER_NAME, device=runner.device, primary_metric=settings.metric,
    )  # fmt: skip
    return run_search(
        folder, settings, plan, runner, clock=time.time, on_event=lambda event: None, interrupted=lambda: False
    )


class Stopwatch:
    """Seconds in the engine's parts, counted while the block runs; what is nested counts where it is innermost."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack = ExitStack()
        self._inner_s = 0.0

    def __enter__(self) -> "Stopwatch":
        places: tuple[tuple[str, Any, str], ...] = (
            ("training", Training, "train_to"), ("training in packs", Pack, "advance"),
            ("evaluation", Groups, "evaluate"), ("attaching", device_runner, "attach_adapter"),
            ("measuring packs", DeviceRunner, "measure_packs"), ("checkpoints", Checkpoints, "write"),
            ("checkpoints", Checkpoints, "remove"), ("saving adapters", DeviceRunner, "save"),
            ("trials.jsonl", Journal, "append"), ("Optuna's storage", search_keeper, "ask"),
            ("Optuna's storage", search_keeper, "tell"),
        )  # fmt: skip
        for name, owner, attribute in places:
            self._stack.enter_context(patch.object(owner, attribute, self._timed(name, getattr(owner, attribute))))
        self._stack.enter_context(self._rest())
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @contextmanager
    def _rest(self) -> Iterator[None]:
        with self._counting("rest: loading the base model, tokenizing, the search itself"):
            yield

    def _timed(self, name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._counting(name):
                return run(*args, **kwargs)

        return timed

    @contextmanager
    def _counting(self, name: str) -> Iterator[None]:
        outer_inner_s, self._inner_s = self._inner_s, 0.0
        began_s = time.perf_counter()
        try:
            yield
        finally:
            took_s = time.perf_counter() - began_s
            self.seconds[name] += took_s - self._inner_s
            self._inner_s = outer_inner_s + took_s
