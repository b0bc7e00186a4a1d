"""Optuna around `transformers.Trainer`, one trial after the other, as most people write it, and with less waste.

Every trial is an `objective` that loads the base model, tokenizes the data, puts LoRA on, trains, and evaluates at the
rungs. Each waste can be left out by itself (`Habits`), so that neighbours differ in one thing.

A decoder that is to write texts is judged by what it writes, as in the engine: greedy decoding of the same prompts with
a cache of keys and values. Nothing is saved, which `Trainer` does by default: the comparison is kinder to it for that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import optuna
import torch
from datasets import Dataset, disable_progress_bars
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from advisor.candidates import Candidate
from advisor.catalog.prompts import prompt_of
from advisor.data.examples import label_names
from advisor.metrics.measure import measure
from advisor.modeling.quiet import quiet_libraries
from advisor.training.batches import training_batches
from studies.throughput.setting import Outcome, Run, Setting

Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a loop is written.

    Attributes:
        padding: Rows to the longest of the batch, or all to the longest allowed.
        is_resident: The base model is loaded once, adapters are put on and taken off.
        tokenizes_once: Or for every trial.
        has_buckets: Batches of rows of similar length, the very ones that the engine trains with; evaluation sorted by
            length.
        pruner: Of the study.
    """

    padding: Literal["longest", "max_length"] = "longest"
    is_resident: bool = False
    tokenizes_once: bool = False
    has_buckets: bool = False
    pruner: Literal["none", "median", "hyperband"] = "none"


def run_trainer(setting: Setting, habits: Habits, seed: int, folder: Path) -> Run:
    """Run a whole study.

    Args:
        setting: What is trained.
        habits: How.
        seed: Of initialisation, data order and dropout.
        folder: Empty; for what `Trainer` wants to write.
    """
    disable_progress_bars()
    loop = _Loop(setting, habits, seed, folder)
    study = optuna.create_study(
        study_name=f"{habits.pruner}-{seed}",  # Hyperband draws a trial's bracket by it
        direction="maximize", sampler=TPESampler(seed=seed), pruner=_pruner(habits, setting.rung_steps),
    )  # fmt: skip
    for parameters in setting.parameters:
        study.enqueue_trial(parameters)
    with quiet_libraries():
        study.optimize(loop.objective, n_trials=len(setting.candidates))
    return Run(trials=tuple(loop.outcomes), details={})


def _pruner(habits: Habits, rung_steps: Sequence[int]) -> BasePruner:
    if habits.pruner == "hyperband":
        return HyperbandPruner(min_resource=rung_steps[0], max_resource=rung_steps[-1])
    return MedianPruner() if habits.pruner == "median" else NopPruner()


class _Loop:
    """The objective and what it keeps between trials, which is nothing unless the habits say so."""

    def __init__(self, setting: Setting, habits: Habits, seed: int, folder: Path) -> None:
        self.outcomes: list[Outcome] = []
        self._setting = setting
        self._habits = habits
        self._seed = seed
        self._folder = folder
        self._kept: dict[str, Any] = {}

    def objective(self, trial: optuna.Trial) -> float:
        """Train one candidate and return its metric."""
        candidate = self._setting.chosen(trial)
        set_seed(self._seed)
        tokenizer = self._once(self._habits.is_resident, "tokenizer", partial(self._load_tokenizer, candidate))
        splits = self._once(self._habits.tokenizes_once, "splits", partial(self._tokenize, tokenizer, candidate))
        with self._base(candidate) as base:
            model = get_peft_model(base, lora_config(candidate, self._setting))
            rungs = _Rungs(trial, self._setting)
            trainer = self._trainer(model, candidate, tokenizer, splits, rungs)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            n_steps = trainer.state.global_step
            if self._habits.is_resident:
                model.unload()
        self.outcomes.append(Outcome(value=rungs.value, n_steps=n_steps))
        if rungs.is_pruned:
            raise optuna.TrialPruned
        return rungs.value

    def _once(self, keeps: bool, name: str, make: Callable[[], Any]) -> Any:
        if not keeps:
            return make()
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    @contextmanager
    def _base(self, candidate: Candidate) -> Iterator[Any]:
        """Load the base model, or take the one that is there, its head as it was at first."""
        base = self._once(self._habits.is_resident, "base", partial(self._load_base, candidate))
        if not (self._habits.is_resident and self._setting.is_classification):
            yield base
            return
        head = self._once(True, "head", lambda: {k: v.clone() for k, v in base.classifier.state_dict().items()})
        base.classifier.load_state_dict(head)  # PEFT's `unload` leaves the trained head
        yield base

    def _load_tokenizer(self, candidate: Candidate) -> Any:
        return AutoTokenizer.from_pretrained(candidate.base_model)

    def _load_base(self, candidate: Candidate) -> Any:
        if self._setting.is_classification:
            return AutoModelForSequenceClassification.from_pretrained(candidate.base_model, num_labels=2)
        return AutoModelForCausalLM.from_pretrained(candidate.base_model)

    def _tokenize(self, tokenizer: Any, candidate: Candidate) -> dict[str, Dataset]:
        pads = self._habits.padding == "max_length"
        setting = self._setting
        encode: Any = (
            partial(encode_pairs, setting, tokenizer, candidate, pads=pads)
            if setting.is_classification
            else partial(encode_texts, setting, tokenizer, candidate, pads=pads)
        )
        made = {}
        for split, examples in setting.examples.items():
            raw = Dataset.from_dict(
                {"text": [one.text for one in examples], "pair": [one.text_pair or "" for one in examples],
                 "target": [one.target for one in examples]}
            )  # fmt: skip
            made[split] = raw.map(encode, batched=True, remove_columns=raw.column_names)
        if self._habits.has_buckets:
            key = "input_ids" if setting.is_classification else "prompt"
            lengths = [len(ids) for ids in made["valid"][key]]
            made["valid"] = made["valid"].select(sorted(range(len(lengths)), key=lambda row: -lengths[row]))
        return made

    def _trainer(
        self, model: Any, candidate: Candidate, tokenizer: Any, splits: Mapping[str, Dataset], rungs: "_Rungs"
    ) -> Trainer:
        setting, values = self._setting, candidate.hyperparameters
        arguments = TrainingArguments(
            output_dir=str(self._folder), per_device_train_batch_size=candidate.batch_size,
            per_device_eval_batch_size=setting.evaluation_batch_size, max_steps=setting.rung_steps[-1],
            learning_rate=values["learning_rate"], weight_decay=values["weight_decay"],
            warmup_steps=values["warmup_ratio"], lr_scheduler_type=values["lr_scheduler_type"], seed=self._seed,
            save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True, log_level="error",
        )  # fmt: skip
        shared: dict[str, Any] = {
            "model": model, "args": arguments, "train_dataset": splits["train"], "eval_dataset": splits["valid"],
            "processing_class": tokenizer, "callbacks": [rungs],
        }  # fmt: skip
        batches = self._batches(splits["train"], candidate) if self._habits.has_buckets else None
        if setting.is_classification:
            collator = DataCollatorWithPadding(tokenizer)
            return _Trainer(
                **shared, data_collator=collator, compute_metrics=partial(_class_metric, setting), batches=batches
            )
        return _WritingTrainer(
            **shared, data_collator=DataCollatorForSeq2Seq(tokenizer), setting=setting, batches=batches
        )

    def _batches(self, train: Dataset, candidate: Candidate) -> list[list[int]]:
        lengths = [len(ids) for ids in train["input_ids"]]
        return list(islice(training_batches(lengths, candidate.batch_size, self._seed), self._setting.rung_steps[-1]))


def lora_config(candidate: Candidate, setting: Setting) -> LoraConfig:
    """Return PEFT's settings of a candidate."""
    values: Any = candidate.hyperparameters
    targets = values["target_modules"]
    return LoraConfig(
        r=values["r"], lora_alpha=values["lora_alpha"], lora_dropout=values["lora_dropout"],
        target_modules=None if targets == "auto" else targets,
        task_type="SEQ_CLS" if setting.is_classification else "CAUSAL_LM",
    )  # fmt: skip


def encode_pairs(
    setting: Setting, tokenizer: Any, candidate: Candidate, rows: Columns, *, pads: bool = False
) -> Columns:
    """Tokenize two texts a row, cut to the candidate's length, as `Dataset.map` wants it."""
    encoded = tokenizer(
        rows["text"], rows["pair"], truncation=True, max_length=candidate.max_seq_length,
        padding="max_length" if pads else False,
    )  # fmt: skip
    names = label_names(setting.examples["train"])
    return {**encoded, "labels": [names.index(target) for target in rows["target"]]}


def encode_texts(
    setting: Setting, tokenizer: Any, candidate: Candidate, rows: Columns, *, pads: bool = False
) -> Columns:
    """Tokenize prompt and target of each row; the loss is taken on the target."""
    template, most = prompt_of(setting.task), setting.task.max_target_length
    start = [number for number in tokenizer("")["input_ids"] if number != tokenizer.eos_token_id]
    before, after, sources, targets = (
        tokenizer(texts, add_special_tokens=False)["input_ids"]
        for texts in ([template.before], [template.after], rows["text"], rows["target"])
    )
    made: Columns = {
        "input_ids": [],
        "attention_mask": [],
        "labels": [],
        "prompt": [],
        "reference": list(rows["target"]),
    }
    widest = len(start) + len(before[0]) + candidate.max_seq_length + len(after[0]) + most + 1
    for source, target in zip(sources, targets, strict=True):
        prompt = [*start, *before[0], *source[-candidate.max_seq_length :], *after[0]]
        answer = target[:most] if len(target) > most else [*target, tokenizer.eos_token_id]
        padding = [0] * (widest - len(prompt) - len(answer) if pads else 0)
        made["input_ids"].append([*prompt, *answer, *(tokenizer.pad_token_id for _ in padding)])
        made["attention_mask"].append([1] * (len(prompt) + len(answer)) + padding)
        made["labels"].append([-100] * len(prompt) + answer + [-100 for _ in padding])
        made["prompt"].append(prompt)
    return made


def _class_metric(setting: Setting, predicted: Any) -> dict[str, float]:
    names = label_names(setting.examples["train"])
    said, expected = predicted.predictions.argmax(axis=-1), predicted.label_ids
    metric = setting.task.primary_metric
    return measure([metric], [names[n] for n in expected], [names[n] for n in said], label_names=names)


class _Rungs(TrainerCallback):
    """Evaluates at the rungs, tells Optuna, and stops what it prunes."""

    def __init__(self, trial: optuna.Trial, setting: Setting) -> None:
        self.value = 0.0
        self.is_pruned = False
        self._trial = trial
        self._setting = setting

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_evaluate = state.global_step in self._setting.rung_steps

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        self.value = metrics[f"eval_{self._setting.task.primary_metric}"]
        self._trial.report(self.value, state.global_step)
        if state.global_step < self._setting.rung_steps[-1] and self._trial.should_prune():
            self.is_pruned = control.should_training_stop = True


class _Trainer(Trainer):
    """Trains on given batches where there are some."""

    def __init__(self, *args: Any, batches: list[list[int]] | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._given = batches

    def get_train_dataloader(self) -> Any:
        if self._given is None:
            return super().get_train_dataloader()
        columns = self._remove_unused_columns(self.train_dataset, description="training")
        return DataLoader(columns, batch_sampler=self._given, collate_fn=self.data_collator)


class _WritingTrainer(_Trainer):
    """Evaluates by what the model writes."""

    def __init__(self, *args: Any, setting: Setting, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._setting = setting

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Generate for every prompt and compare with the references."""
        tokenizer: Any = self.processing_class
        rows, size = list(self.eval_dataset), self.args.per_device_eval_batch_size
        written: list[str] = []
        self.model.eval()
        for start in range(0, len(rows), size):
            prompts = [{"input_ids": row["prompt"]} for row in rows[start : start + size]]
            batch = tokenizer.pad(prompts, return_tensors="pt", padding_side="left")
            with torch.no_grad():
                made = self.model.generate(
                    **batch, max_new_tokens=self._setting.task.max_target_length, do_sample=False, use_cache=True,
                    pad_token_id=tokenizer.pad_token_id,
                )  # fmt: skip
            texts = tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            written += [text.strip() for text in texts]
        metric = self._setting.task.primary_metric
        value = measure([metric], [row["reference"] for row in rows], written)[metric]
        metrics = {f"eval_{metric}": value}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
