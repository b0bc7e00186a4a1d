"""Combinations of base model, method, hyperparameters and precision that evidence supports."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import log2

from advisor.catalog.base_models import BaseModel
from advisor.catalog.dimensions import Scalar
from advisor.catalog.methods import LORA_FAMILY, Method, derived_values
from advisor.catalog.tasks import Head, Task, head_of
from advisor.catalog.trained_adapters import TrainedAdapter
from advisor.evidence.digest import Digest, Setting, Vote
from advisor.spec import Architecture, Precision, Quantization

Hyperparameters = Mapping[str, object]

# QLoRA's authors halve the rate above 13B parameters (dettmers2023qlora-003).
LARGE_MODEL_PARAMS = 13_000_000_000
LARGE_MODEL_LEARNING_RATE = 1e-4
LARGE_MODEL_EVIDENCE = "dettmers2023qlora-003"

# Prefix tuning hands its prefix to the layers as past keys and values, which layers computed anew cannot read;
# PEFT refuses the two together (peft_model.py).
WITHOUT_CHECKPOINTING = frozenset({"prefix-tuning"})

_MOST_EPOCHS = 15
_ALPHA = "lora_alpha"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Everything that fixes one training run except data, seed and length of training.

    Attributes:
        base_model: Hub id or local folder.
        architecture: Decides the task head together with the task.
        method: Slug in `catalog.methods`; "full" is full fine-tuning.
        hyperparameters: `learning_rate`, `num_epochs`, `weight_decay`, `warmup_ratio`, `lr_scheduler_type`
            (transformers' names) and the method's own under PEFT's names (`r`, `lora_alpha`,
            `lora_dropout`, `target_modules`, `num_virtual_tokens`, ...).
        precision: Arithmetic of the training step; weights of the frozen base are kept in it too.
        quantization: Storage of the frozen base weights, None when not quantized.
        batch_size: Examples per optimizer step.
        max_seq_length: Tokens of the (source) sequence kept.
        micro_batch_size: Examples in memory at once; gradients add up to the batch size. None for the whole batch.
        gradient_checkpointing: Keep only the inputs of the layers between forward and backward pass and compute the
            rest anew: less memory, more time, the same gradients.
        adapters: Trained adapters that this one is made of, the lowest first; none for most methods. They are no
            hyperparameter: these are single values that a search may vary, and no search varies what it builds on.
    """

    base_model: str
    architecture: Architecture
    method: str
    hyperparameters: Hyperparameters
    precision: Precision = "fp32"
    quantization: Quantization | None = None
    batch_size: int = 16
    max_seq_length: int = 512
    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False
    adapters: tuple[TrainedAdapter, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_seq_length < 1:
            raise ValueError("batch_size and max_seq_length must be at least 1")
        if self.micro_batch_size is not None and not 1 <= self.micro_batch_size <= self.batch_size:
            raise ValueError(f"micro_batch_size must lie between 1 and the batch size of {self.batch_size}")
        learning_rate = self.hyperparameters.get("learning_rate")
        if not isinstance(learning_rate, (int, float)) or isinstance(learning_rate, bool) or not learning_rate > 0:
            raise ValueError(f"hyperparameters.learning_rate must be a positive number, not {learning_rate!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A base model with a method and its hyperparameters, before anything is known about memory.

    Attributes:
        model: The base model.
        method: The method.
        head: Task head the model gets.
        hyperparameters: As in `Candidate`.
        settings: The evidence behind hyperparameters that come from it.
        placement: The vote behind `target_modules`, None where nobody votes.
        max_seq_length: Tokens of the source kept.
    """

    model: BaseModel
    method: Method
    head: Head
    hyperparameters: Mapping[str, Scalar]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    placement: Vote | None = None
    max_seq_length: int


def possible(task: Task, model: BaseModel, method: Method) -> bool:
    """Can this model, tuned with this method, do this task?

    Encoder-only models cannot generate, and retrieval compares embeddings, which only encoders give.
    """
    architecture = model.architecture
    if not method.works_on(model.model_type):
        return False
    if task.kind == "generative" and architecture == "encoder-only":
        return False
    if task.form == "retrieval" and architecture != "encoder-only":
        return False
    return method.supports(architecture, head_of(task, architecture))


def propose(task: Task, model: BaseModel, method: Method, digest: Digest) -> Proposal:
    """Return the proposal of a possible pair, with hyperparameters from the evidence where there is some."""
    settings = {
        name: setting for name, setting in digest.settings.get(method.slug, {}).items() if name in method.defaults
    }
    placement = digest.placements.get(method.slug)
    hyperparameters = choose_hyperparameters(method, model, settings, placement)
    return Proposal(
        model=model, method=method, head=head_of(task, model.architecture), placement=placement,
        hyperparameters=hyperparameters, settings=_told(settings, hyperparameters),
        max_seq_length=min(task.max_seq_length, model.context_length or task.max_seq_length),
    )  # fmt: skip


def choose_hyperparameters(
    method: Method, model: BaseModel, settings: Mapping[str, Setting], placement: Vote | None = None
) -> dict[str, Scalar]:
    """Return the method's defaults overridden by the centre of the evidence, inside the method's ranges.

    Args:
        method: The method.
        model: The base model; its size decides between learning rates.
        settings: Evidence by hyperparameter; that of `lora_alpha` is about its ratio to the rank.
        placement: Where the papers put LoRA's adapters.
    """
    defaults = method.hyperparameters(model.architecture)
    chosen: dict[str, Scalar] = {
        name: _snap(method, name, setting.at(model.params)) for name, setting in settings.items() if name != _ALPHA
    }
    rate = chosen.get("learning_rate", defaults["learning_rate"])
    if model.params > LARGE_MODEL_PARAMS and method.slug in LORA_FAMILY:
        rate = min(float(rate), LARGE_MODEL_LEARNING_RATE)
    chosen["learning_rate"] = rate
    if placement is not None:
        chosen["target_modules"] = _targets(method, placement)
    values = {**defaults, **chosen, **derived_values(method.slug, chosen)}
    if _ALPHA in settings:
        # The next power of two: ratios of 1.5 are the middle of two recipes, not one of them.
        values[_ALPHA] = max(1, round(int(values["r"]) * 2.0 ** round(log2(settings[_ALPHA].value))))
    return values


def _targets(method: Method, placement: Vote) -> Scalar:
    """Return the choice of the catalogue that is nearest to what won: PEFT's own choice is query and value."""
    offered = next((one.choices for one in method.dimensions if one.name == "target_modules"), ())
    wanted = placement.value if placement.value in offered else "auto"
    return wanted if wanted in offered else method.defaults["target_modules"]


def _told(settings: Mapping[str, Setting], values: Mapping[str, Scalar]) -> dict[str, Setting]:
    """Return the settings with `lora_alpha` told at the rank that was chosen."""
    if _ALPHA not in settings:
        return dict(settings)
    ratio, rank = settings[_ALPHA], int(values["r"])
    told = replace(ratio, value=ratio.value * rank, low=round(ratio.low * rank), high=round(ratio.high * rank))
    return {**settings, _ALPHA: told}


def _snap(method: Method, name: str, value: float) -> Scalar:
    """Return the nearest value that the method's range allows, rounded for people."""
    if name == "num_epochs":
        return max(1, min(_MOST_EPOCHS, round(value)))
    dimension = next((one for one in method.dimensions if one.name == name), None)
    if dimension is None:
        return value
    if dimension.kind == "categorical":
        numbers = [choice for choice in dimension.choices if isinstance(choice, (int, float))]
        return min(numbers, key=lambda choice: abs(choice - value)) if numbers else dimension.choices[0]
    clipped = min(max(value, dimension.low or 0.0), dimension.high or value)
    return round(clipped) if dimension.kind == "int" else float(f"{clipped:.1g}")
