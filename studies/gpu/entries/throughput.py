"""Trial-steps a second of packs, against the same trials one by one and against `transformers.Trainer`.

Models have random weights and the published shape; nothing is downloaded. Rows are all of one length, so a step is a
known number of tokens and nobody gains by padding less: what is compared is the step alone. LoRA with the catalogue's
defaults, so every trial draws its own dropout; one part measures what leaving it out gives.

Not covered: evaluation, pruning and data (see `studies/throughput` for whole studies), packs of unlike trials.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from studies.gpu.entry import Entry, Part, Slot
from studies.step_accuracy.cases import CODEBERT, QWEN_05, QWEN_15, Case
from studies.step_accuracy.instruments import (
    begin_peaks,
    kernel_times,
    read_peaks,
    release,
    synchronize,
    time_summary,
    timed,
)
from studies.step_accuracy.models import build_base, dtypes

if TYPE_CHECKING:
    from advisor.candidates import Candidate
    from advisor.modeling.attachment import AttachedModel
    from advisor.modeling.base import BaseModel
    from advisor.training.loop import Training
    from advisor.training.tokens import TokenRow

MODELS = {"codebert": CODEBERT, "qwen0.5b": QWEN_05, "qwen1.5b": QWEN_15}
BATCH_SIZE = 8
SIZES = (1, 2, 4, 8, 16)
# Up to which number of tokens a step of a pack gains anything: short to long rows, alone and in a pack of four.
LENGTHS, LENGTHS_SIZES = (32, 64, 512, 1024), (1, 4)
LONGEST = {"codebert": 512}
SMOKE_BATCH_SIZE, SMOKE_LENGTH, SMOKE_SIZES = 2, 16, (1, 2)
UNTIMED_STEPS = 3
TRAINER_STEPS = 15
N_ROWS = 64
N_STEPS = 10_000  # of the schedule: more than are ever made


def measure_model(
    name: str, lengths: Sequence[int], sizes: Sequence[int], dropout: float | None, slot: Slot
) -> dict[str, Any]:
    """Measure all lengths and pack sizes on one model."""
    result: dict[str, Any] = {"base_model": MODELS[name], "batch_size": BATCH_SIZE}
    if slot.device != "cuda" and not slot.smoke:
        return result | {"not_run": "needs a CUDA device"}
    from advisor.modeling.quiet import quiet_libraries

    if slot.smoke:
        lengths, sizes = (SMOKE_LENGTH,), SMOKE_SIZES
        result["batch_size"] = SMOKE_BATCH_SIZE
    with quiet_libraries():
        base = base_of(name, slot)
        result["lengths"] = [
            measure_length(base, candidate_for(base, length, dropout, slot), sizes, slot) for length in lengths
        ]
    del base
    release(slot.device)
    last = result["lengths"][-1]
    return result | {key: last[key] for key in ("length", "best_size", "gain", "gain_over_trainer") if key in last}


def measure_length(base: "BaseModel", candidate: "Candidate", sizes: Sequence[int], slot: Slot) -> dict[str, Any]:
    """Measure packs of all sizes, and Trainer, on rows of one length."""
    rows = rows_for(base, candidate.max_seq_length)
    result: dict[str, Any] = {
        "length": candidate.max_seq_length, "tokens_per_trial_step": candidate.batch_size * candidate.max_seq_length,
        "lora_dropout": candidate.hyperparameters["lora_dropout"],
        "trainer": _unless_full(partial(measure_trainer, base, candidate, rows, slot), slot),
        "packs": [],
    }  # fmt: skip
    for size in sizes:
        found = {"size": size, **_unless_full(partial(measure_pack, base, candidate, rows, size, slot), slot)}
        result["packs"].append(found)
        if "not_run" in found:
            break  # larger packs need more memory still
    return result | gains(result["trainer"], result["packs"])


def gains(trainer: dict[str, Any], packs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many times as many trial-steps a second the best pack makes as one by one, and as Trainer."""
    ran = [pack for pack in packs if "trial_step_s" in pack]
    if not ran:
        return {}
    best = min(ran, key=lambda pack: pack["trial_step_s"])
    found = {"best_size": best["size"], "gain": ran[0]["trial_step_s"] / best["trial_step_s"]}
    if "step_s" in trainer:
        found["gain_over_trainer"] = trainer["step_s"] / best["trial_step_s"]
    return found


def measure_pack(
    base: "BaseModel", candidate: "Candidate", rows: "list[TokenRow]", size: int, slot: Slot
) -> dict[str, Any]:
    """Measure steps of that many trials together: time, memory at its peak, and how long the device computes in one."""
    from advisor.modeling.attachment import attach_adapter
    from advisor.modeling.sharing import shared_base
    from advisor.training.loop import Training

    before = begin_peaks(slot.device)
    attached: list[AttachedModel] = []
    try:
        attached.extend(attach_adapter(shared_base(base), candidate, seed=number) for number in range(size))
        trainings = {
            number: Training(one, rows, candidate, n_steps=N_STEPS, seed=number, data_seed=0)
            for number, one in enumerate(attached)
        }
        step = stepper(base, trainings)
        for _ in range(UNTIMED_STEPS):
            step()
        summary = time_summary(timed(step, slot))
        peaks = read_peaks(slot.device)
        kernels = kernel_times(step, slot)
    finally:
        for one in attached:
            one.detach()
    kernels.pop("longest_kernels", None)
    return {"trial_step_s": summary["step_s"] / size, **summary, **before, **peaks, **kernels}


def stepper(base: "BaseModel", trainings: "dict[int, Training]") -> Callable[[], None]:
    """Return what makes one step of all trainings: in a pack, or the loop alone for a single one."""
    from advisor.training.packing.pack import Pack

    if len(trainings) == 1:
        alone = trainings[0]
        return lambda: alone.train_to(alone.step + 1)
    pack = Pack(base, trainings, halves=False)
    return lambda: pack.advance({number: one.step + 1 for number, one in trainings.items()})


def measure_trainer(base: "BaseModel", candidate: "Candidate", rows: "list[TokenRow]", slot: Slot) -> dict[str, Any]:
    """Measure steps of `transformers.Trainer` with its defaults, from the begin of one to the begin of the next."""
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, default_data_collator

    from advisor.modeling.attachment import attach_adapter
    from advisor.modeling.sharing import shared_base

    begun: list[float] = []

    class Clock(TrainerCallback):
        """Notes when steps begin."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            synchronize(slot.device)
            begun.append(time.perf_counter())

    before = begin_peaks(slot.device)
    attached = attach_adapter(shared_base(base), candidate, seed=0)
    try:
        trainer = Trainer(
            model=attached.model,
            args=TrainingArguments(
                output_dir=str(slot.work / "trainer"), per_device_train_batch_size=candidate.batch_size,
                max_steps=UNTIMED_STEPS + (2 if slot.smoke else TRAINER_STEPS) + 1, bf16=candidate.precision == "bf16",
                learning_rate=1e-4, save_strategy="no", report_to="none", use_cpu=slot.device == "cpu",
                disable_tqdm=True, remove_unused_columns=False, label_names=["labels"],
            ),
            train_dataset=[_plain(row, base) for row in rows],  # type: ignore[arg-type]
            data_collator=default_data_collator,
            callbacks=[Clock()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        peaks = read_peaks(slot.device)
    finally:
        attached.detach()
    durations = [end - start for start, end in pairwise(begun)][UNTIMED_STEPS:]
    return {"step_s": statistics.median(durations), "steps_s": [round(one, 6) for one in durations], **before, **peaks}


def base_of(name: str, slot: Slot) -> "BaseModel":
    """Build a frozen base model with random weights, and give it the demonstration's tokenizer, whose ids fit."""
    import torch
    from transformers import AutoTokenizer

    from advisor.demo import base_model_path
    from advisor.modeling.base import BaseModel, BaseRequest

    is_encoder = name == "codebert"
    head: Any = "sequence-classification" if is_encoder else "causal-lm"
    weights: Any = "bf16" if slot.device == "cuda" else "fp32"
    case = Case(
        name=name, base_model=MODELS[name], head=head, adapter=None, batch_size=BATCH_SIZE, seq_length=SMOKE_LENGTH
    )
    torch.manual_seed(0)
    model = build_base(case, slot, dtypes()[weights])
    model.requires_grad_(False)
    model.eval()
    architecture: Any = "encoder-only" if is_encoder else "decoder-only"
    request = BaseRequest(
        base_model=MODELS[name], architecture=architecture, head=head, label_names=("0", "1") if is_encoder else (),
        weights=weights, quantization=None,
    )  # fmt: skip
    return BaseModel(
        request=request, source=MODELS[name], model=model, device=torch.device(slot.device), max_positions=None,
        tokenizer=AutoTokenizer.from_pretrained(str(base_model_path(architecture))),
    )  # fmt: skip


def candidate_for(base: "BaseModel", length: int, dropout: float | None, slot: Slot) -> "Candidate":
    """Return LoRA with the catalogue's defaults, and with another dropout where one is given."""
    from advisor.candidates import Candidate
    from advisor.catalog.methods import find_method

    request = base.request
    found = Candidate(
        base_model=request.base_model, architecture=request.architecture, method="lora", precision=request.weights,
        hyperparameters=find_method("lora").hyperparameters(request.architecture),
        batch_size=SMOKE_BATCH_SIZE if slot.smoke else BATCH_SIZE, max_seq_length=length,
    )  # fmt: skip
    if dropout is None:
        return found
    return replace(found, hyperparameters={**found.hyperparameters, "lora_dropout": dropout})


def rows_for(base: "BaseModel", length: int) -> "list[TokenRow]":
    """Draw rows of exactly one length; a decoder learns their second half."""
    import numpy as np

    from advisor.training.tokens import IGNORED, TokenRow

    rng = np.random.default_rng(0)
    n_ids = int(base.model.config.vocab_size)
    rows = []
    for number in range(N_ROWS):
        ids = rng.integers(5, n_ids, length, dtype=np.int32)  # the first few mark padding and ends
        labels = np.array([number % 2], np.int32)
        if base.request.head == "causal-lm":
            labels = np.where(np.arange(length) < length // 2, IGNORED, ids).astype(np.int32)
        rows.append(TokenRow(input_ids=ids, labels=labels, prompt_length=length))
    return rows


def _plain(row: "TokenRow", base: "BaseModel") -> dict[str, Any]:
    labels = row.labels.tolist() if base.request.head == "causal-lm" else int(row.labels[0])
    ids = row.input_ids.tolist()
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def _unless_full(measure: Callable[[], dict[str, Any]], slot: Slot) -> dict[str, Any]:
    """Measure, or say that memory ran out."""
    import torch

    release(slot.device)
    try:
        return measure()
    except torch.OutOfMemoryError as error:
        reason = str(error).split("\n")[0]  # the error itself holds on to the tensors of the step
    release(slot.device)
    return {"not_run": reason}


def _part(
    name: str, suffix: str, minutes: float, lengths: Sequence[int], sizes: Sequence[int], dropout: float | None = None
) -> Part:
    kept = [length for length in lengths if length <= LONGEST.get(name, length)]
    return Part(
        name=f"{name}-{suffix}", minutes=minutes, measure=lambda slot: measure_model(name, kept, sizes, dropout, slot)
    )


ENTRY = Entry(
    name="throughput",
    question="How many more trial-steps a second do packs make, at what memory, and where does the gain end?",
    parts=(
        *(
            _part(name, f"batch{BATCH_SIZE}x{length}", 1.5, (length,), SIZES)
            for length in (128, 256)
            for name in MODELS
        ),
        *(_part(name, "lengths", 1.5, LENGTHS, LENGTHS_SIZES) for name in MODELS),
        *(_part(name, "without-dropout", 1.0, (128,), (1, 8), 0.0) for name in ("codebert", "qwen0.5b")),
    ),
    columns=("length", "best_size", "gain", "gain_over_trainer", "duration_s"),
)
