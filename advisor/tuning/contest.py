"""The final comparison on the test split: each contender is evaluated once, over all runs of the study."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task
from advisor.result import Contender, Difference
from advisor.trial import TrialRecord, TrialRunner
from advisor.tuning.data import TuningData
from advisor.tuning.events import ContenderEvaluated, StageStarted, TuningEvent

UNTUNED = "untuned base model"
MAJORITY = "majority class"
RECOMMENDATION = "recommendation"
BEST = "best trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Evaluates contenders on the test split.

    Attributes:
        task: Gives the metrics.
        data: The splits.
        runner: Evaluates models.
        folder: Run folder; predictions go to its `predictions/`.
        seed: Of the study.
        known: Rows of an earlier result of the same study; they are not evaluated again.
        on_event: Told of each row.
        label_names: Classes of the training split; empty for generation.
    """

    task: Task
    data: TuningData
    runner: TrialRunner
    folder: Path
    seed: int
    known: tuple[Contender, ...]
    on_event: Callable[[TuningEvent], None]
    label_names: tuple[str, ...] = ()

    def baselines(self, candidate: Candidate) -> list[Contender]:
        """Evaluate what needs no training: the base model as it is and, for labels, always the commonest one."""
        untuned = self._known(UNTUNED, None) or self._model(UNTUNED, None, candidate, None)
        return [untuned] if self.task.kind == "generative" else [untuned, self._majority()]

    def trial(self, name: str, record: TrialRecord, adapter: Path) -> Contender:
        """Evaluate the saved adapter of a trial."""
        return self._known(name, record.number) or self._model(name, record.number, record.candidate, adapter)

    def same(self, name: str, contender: Contender) -> Contender:
        """Return a contender under a second name, with its predictions: the recommendation may be the best trial."""
        shutil.copyfile(self._path(contender.name), self._path(name))
        return self._told(replace(contender, name=name))

    def differences(self, best: Contender, others: Sequence[Contender]) -> tuple[Difference, ...]:
        """Compare the best trial with the others, paired over test examples; not with itself."""
        from advisor.training.comparison import paired_difference

        best_path = self._path(best.name)
        return tuple(
            paired_difference(
                self.task,
                best_path,
                self._path(other.name),
                against=other.name,
                seed=self.seed,
                label_names=self.label_names,
            )
            for other in others
            if other.trial is None or other.trial != best.trial
        )

    def _majority(self) -> Contender:
        from advisor.training.baselines import majority_class

        known = self._known(MAJORITY, None)
        if known is not None:
            return known
        train, test = self.data.files["train"], self.data.files["test"]
        evaluation = majority_class(self.task, train.examples, test.examples, predictions=self._path(MAJORITY))
        return self._told(Contender(name=MAJORITY, trial=None, candidate=None, evaluation=evaluation))

    def _model(self, name: str, trial: int | None, candidate: Candidate, adapter: Path | None) -> Contender:
        n_examples = len(self.data.files["test"].examples)
        self.on_event(StageStarted(text=f"evaluating the {name} on {n_examples:,} test examples"))
        evaluation = self.runner.evaluate(candidate, adapter, "test", seed=self.seed, predictions=self._path(name))
        tried = candidate if adapter is not None else None
        return self._told(Contender(name=name, trial=trial, candidate=tried, evaluation=evaluation))

    def _told(self, contender: Contender) -> Contender:
        self.on_event(ContenderEvaluated(contender=contender))
        return contender

    def _known(self, name: str, trial: int | None) -> Contender | None:
        found = next((row for row in self.known if row.name == name and row.trial == trial), None)
        return self._told(found) if found is not None and self._path(name).is_file() else None

    def _path(self, name: str) -> Path:
        from advisor.report.run_folder import predictions_name

        path = self.folder / "predictions" / f"{predictions_name(name)}.jsonl"
        path.parent.mkdir(exist_ok=True)
        return path
