"""What all arms of the study share: task, data, candidates and rungs; and what an arm leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import RandomSampler

from advisor.candidates import Candidate
from advisor.catalog.tasks import Task, find_task
from advisor.data.examples import Example, read_examples
from advisor.demo import base_model_path, write_dataset
from advisor.search.distributions import parameters_of, suggest
from advisor.search_space import Scalar, SearchSpace, candidate_from_choice
from advisor.trial import Split
from advisor.tuning.request import TuningRequest
from advisor.tuning.starting_point import find_starting_point


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One question.

    Attributes:
        task: What is trained for.
        space: LoRA as `tune` searches it around its recommendation.
        candidates: Trained by every arm in this order; the first is the recommendation.
        examples: "train" and "valid".
        rung_steps: Optimizer steps at which trials are evaluated; the last is the end.
        evaluation_batch_size: Rows in a batch of evaluation, as the engine has it.
    """

    task: Task
    space: SearchSpace
    candidates: tuple[Candidate, ...]
    examples: Mapping[Split, Sequence[Example]]
    rung_steps: tuple[int, ...]
    evaluation_batch_size: int

    @property
    def is_classification(self) -> bool:
        """Does the model get a classification head?"""
        return self.task.kind == "non-generative"

    @property
    def parameters(self) -> list[dict[str, Scalar]]:
        """The candidates as parameters of an Optuna study."""
        return [parameters_of(candidate, self.space) for candidate in self.candidates]

    def chosen(self, trial: optuna.Trial) -> Candidate:
        """Return what Optuna asks to be tried."""
        method, values = suggest(trial, self.space)
        return candidate_from_choice(self.candidates[0], method, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One trial.

    Attributes:
        value: Primary metric on the validation split at the last rung that it reached.
        n_steps: Optimizer steps done.
    """

    value: float
    n_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A whole study by one arm.

    Attributes:
        trials: In the order of the candidates.
        details: What the arm says beyond that, fit for JSON.
    """

    trials: tuple[Outcome, ...]
    details: Mapping[str, Any]

    @property
    def best(self) -> float:
        """The highest value of a trial that was trained to its end."""
        n_steps = max(trial.n_steps for trial in self.trials)
        return max(trial.value for trial in self.trials if trial.n_steps == n_steps)


def make_setting(
    slug: str,
    params: Mapping[str, Any],
    folder: Path,
    *,
    seed: int,
    batch_size: int,
    evaluation_batch_size: int,
    source: Path | None = None,
) -> Setting:
    """Write the demonstration data of a task and draw the candidates.

    Args:
        slug: Of the task.
        params: Sizes, as in `params.json`.
        folder: For the data.
        seed: Of data and candidates.
        batch_size: Of training, in all arms.
        evaluation_batch_size: See `Setting`.
        source: Folder of Python packages to make the data from; None for the installed ones.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    n_train, n_valid = params["n_train"], params["n_valid"]
    data = write_dataset(slug, folder, seed=seed, n_train=n_train, n_valid=n_valid, n_test=2, source=source)
    task = find_task(slug)
    files = {"train": data.train, "valid": data.valid}
    start = find_starting_point(
        TuningRequest(
            train=data.train, valid=data.valid, test=data.test, task=slug, methods=("lora",),
            base_model=str(base_model_path(params["architecture"])),
        )
    )  # fmt: skip
    recommended = replace(start.recommended, batch_size=batch_size)
    drawn = optuna.create_study(sampler=RandomSampler(seed=seed))
    others = (suggest(drawn.ask(), start.space) for _ in range(1, params["n_trials"]))
    return Setting(
        task=task,
        space=start.space,
        candidates=(recommended, *(candidate_from_choice(recommended, *other) for other in others)),
        examples={split: read_examples(path, task).examples for split, path in files.items()},
        rung_steps=tuple(params["rung_steps"]),
        evaluation_batch_size=evaluation_batch_size,
    )


def shortened(setting: Setting, n_examples: int) -> Setting:
    """Return next to nothing of a setting: two candidates, two steps, a few examples."""
    examples = {split: rows[:n_examples] for split, rows in setting.examples.items()}
    return replace(setting, candidates=setting.candidates[:2], examples=examples, rung_steps=(1, 2))
