"""A user's question turned into a workload, dry-run, and answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from advisor.catalog.base_models import find_base_model
from advisor.catalog.gpus import Gpu
from advisor.dryrun.estimate import DryRun, estimate_workload
from advisor.dryrun.generation import Inference
from advisor.dryrun.hyperparameters import check_values
from advisor.dryrun.interpretation import room_for_tokens, workload_of
from advisor.dryrun.largest import Largest, largest_that_fits
from advisor.dryrun.question import Question
from advisor.dryrun.relief import relief
from advisor.dryrun.workload import Workload
from advisor.errors import AdvisorError, InputError, UnknownNameError, printable
from advisor.feasibility.estimate import Estimate
from advisor.feasibility.memory import Step
from advisor.feasibility.stored import BASIS as STORED
from advisor.feasibility.stored import estimate_step
from advisor.modeling.meta import hidden_size
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import GIB

_LARGEST_BATCH, _LONGEST = 8192, 131_072
_BYTES_IN_16_BITS = 2
_NOT_SMALLER = (
    "Quantization makes this model no smaller: bitsandbytes stores linear layers alone in few bits, and PEFT casts the "
    "rest, such as the experts of a mixture, to float32; without --quantization the weights take less."
)
_CLOSE_CALL = 0.03  # share of the device; estimates are off by a few per cent
# Methods whose `r` is not what their memory grows with.
_NO_RANK = frozenset({"ADALORA", "ADAMSS", "OFT", "TINYLORA"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the dry run said.

    Attributes:
        question: As asked.
        workload: What was run; the largest that fits when that was asked for.
        method: Name of the method for people.
        gpu: The device, None when none was named.
        run: Memory and time.
        largest: Result of the search, None without one.
        notes: What the user should know, one sentence each: limits of the model, a close call, no figures for time,
            what to try when it does not fit.
    """

    question: Question
    workload: Workload
    method: str
    gpu: Gpu | None
    run: DryRun
    largest: Largest | None = None
    notes: tuple[str, ...] = ()

    @property
    def estimate(self) -> Estimate:
        """Memory and time of a training step, part by part."""
        return self.run.estimate

    @property
    def peak_memory_bytes(self) -> int:
        """What the process takes of the device: the larger of training and of evaluation, where that was asked for."""
        return self.run.peak_memory_bytes

    @property
    def fits(self) -> bool | None:
        """Does it fit the device? None when no device was named."""
        return self.run.fits

    @property
    def margin_bytes(self) -> int | None:
        """What is left of the device, negative when it is too small; None when no device was named."""
        return self.run.margin_bytes

    @property
    def step_time_s(self) -> float | None:
        """Time of an optimizer step; None when no GPU was named, or its rates are not known."""
        return self.run.estimate.step_time_s

    @property
    def tokens_per_s(self) -> float | None:
        """Throughput, padding included; None where the time is."""
        return self.run.tokens_per_s


def answer(question: Question, *, gpu: Gpu | None = None, usable_gib: float | None = None) -> Answer:
    """Dry-run what the question is about.

    Args:
        question: Model, method and step.
        gpu: Device to fit into and to estimate time for.
        usable_gib: Memory to fit into instead of the GPU's own.

    Raises:
        InputError: Parts of the question do not go together.
        DataError: The model folder or the adapter's file is not usable.
        UnknownNameError: No such model.
        InfeasibleBudgetError: A largest value was asked for, and nothing fits.
    """
    if question.searched is not None and gpu is None and usable_gib is None:
        raise InputError('--max needs --gpu or --vram: how much memory there is, such as --vram 24 or --gpu "RTX 4090"')
    with quiet_libraries():
        workload = workload_of(question, gpu)

    def run(one: Workload) -> DryRun:
        with quiet_libraries(), _one_line_errors(one):
            return estimate_workload(one, gpu=gpu, usable_gib=usable_gib, inference=_inference(question, one))

    largest = None
    if question.searched is None:
        done = run(workload)
    else:
        make, limit = _searched(question, workload)
        largest = largest_that_fits(
            lambda value: run(make(value)), limit=limit, name=question.searched,
            advice=lambda smallest: relief(make(1), smallest), expected=_expected(question, workload, gpu, usable_gib),
        )  # fmt: skip
        workload, done = make(largest.value), largest.run
    return Answer(
        question=question, workload=workload, method=_title(question, workload), gpu=gpu, run=done, largest=largest,
        notes=_notes(workload, done),
    )  # fmt: skip


@contextmanager
def _one_line_errors(workload: Workload) -> Iterator[None]:
    """Turn what transformers and PEFT raise about a combination that they cannot run into one line."""
    try:
        yield
    except InputError as error:
        if "lora_dropout != 0" in str(error):  # parameters that are no layers, such as fused experts
            raise InputError(f"{error}; give --set lora_dropout=0") from error
        raise
    except AdvisorError:
        raise
    except Exception as error:
        reason = printable(" ".join(str(error).split()) or type(error).__name__, limit=200)
        raise AdvisorError(f"{workload.source.name}: the dry run of this combination fails ({reason})") from error


def _title(question: Question, workload: Workload) -> str:
    if question.method is not None:
        return question.method.title
    kind = workload.peft_config.peft_type if workload.peft_config is not None else "full"
    return str(getattr(kind, "value", kind))


def _inference(question: Question, workload: Workload) -> Inference | None:
    if question.eval_batch_size is None and not question.new_tokens:
        return None
    batch = question.eval_batch_size or question.batch_size
    return Inference(batch_size=batch, seq_length=workload.seq_length, new_tokens=question.new_tokens)


def _searched(question: Question, workload: Workload) -> tuple[Callable[[int], Workload], int]:
    """Return how a value of what is searched makes a workload, and the largest value to look at."""
    if question.searched == "batch-size":
        return lambda value: replace(workload, batch_size=value), _LARGEST_BATCH
    if question.searched == "seq-len":
        room = room_for_tokens(question, workload.source, workload.head, workload.peft_config)
        positions = room or workload.source.max_positions or _LONGEST
        return lambda value: replace(workload, seq_length=value), min(positions, _LONGEST)
    config = workload.peft_config
    kind = _title(question, workload)
    if config is None or kind in _NO_RANK or not isinstance(getattr(config, "r", None), int):
        raise InputError(f"--max rank: {kind} has no rank")

    def with_rank(value: int) -> Workload:
        check_values(type(config), {"r": value}, "--max")
        changed = type(config)(**{**config.to_dict(), "r": value})
        return replace(workload, peft_config=changed)

    return with_rank, hidden_size(workload.source.config)


def _expected(
    question: Question, workload: Workload, gpu: Gpu | None, usable_gib: float | None
) -> Callable[[int], int] | None:
    """Return what the stored profile of this step leaves of the device for a value; None where none is stored.

    Profiles are of the step that `tune` runs. Another optimizer or the outputs that a loop keeps move their answer by
    a little, which the search corrects; where evaluation or the squares of eager attention decide, they are no guide.
    """
    method, searched = question.method, question.searched
    usable = usable_gib if usable_gib is not None else gpu.usable_gib if gpu is not None else None
    if method is None or usable is None or question.eval_batch_size or question.new_tokens:
        return None
    if workload.attention == "eager" or Path(question.model).expanduser().is_dir():
        return None
    try:
        model = find_base_model(question.model)
    except UnknownNameError:
        return None

    def margin(value: int) -> int | None:
        batch = value if searched == "batch-size" else workload.batch_size
        step = Step(
            batch_size=batch * workload.pack_size,
            source_tokens=value if searched == "seq-len" else workload.seq_length,
            target_tokens=workload.target_length,
        )
        size = {"r": value} if searched == "rank" else {}
        found = estimate_step(
            model, method.slug, {**question.hyperparameters, **size}, workload.head, step, workload.precision,
            workload.quantization, gradient_checkpointing=workload.gradient_checkpointing,
            accumulation=workload.accumulation, gpu=gpu,
        )  # fmt: skip
        return int(usable * GIB) - found.peak_memory_bytes if found is not None and found.basis == STORED else None

    return None if margin(1) is None else lambda value: margin(value) or 0


def _notes(workload: Workload, run: DryRun) -> tuple[str, ...]:
    notes = []
    positions = workload.source.max_positions
    if workload.source.position_limit is None and positions is not None and workload.seq_length > positions:
        notes.append(f"The model was made for sequences of at most {positions} tokens.")
    base_params = run.total_params - run.estimate.trainable_params
    if workload.quantization is not None and run.estimate.weights_bytes > _BYTES_IN_16_BITS * base_params:
        notes.append(_NOT_SMALLER)
    if run.time_unknown:
        notes.append(f"{run.time_unknown}.")
    if run.margin_bytes is not None and run.usable_bytes and 0 <= run.margin_bytes < _CLOSE_CALL * run.usable_bytes:
        notes.append("A close call: the estimate may be off by a few per cent.")
    hint = relief(workload, run)
    return (*notes, hint) if hint else tuple(notes)
