"""What a user asks of a dry run, checked as far as that is possible without loading torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from advisor.candidates import WITHOUT_CHECKPOINTING
from advisor.catalog.base_models import find_base_model, read_config
from advisor.catalog.methods import METHODS, Method
from advisor.catalog.tasks import Head
from advisor.errors import InputError, UnknownNameError, printable
from advisor.spec import Attention, OptimizerName, Precision, Quantization, Searched

# Far beyond what any device takes; `Workload` has the same limits.
MOST_TOKENS, LARGEST_BATCH, LARGEST_PACK, MOST_LABELS = 10_000_000, 100_000, 1000, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the user wants to know; names and defaults as in `Workload` where not said otherwise.

    Attributes:
        model: Catalogue or hub id, or a folder with a config.json.
        method: PEFT method of the catalogue, None with `adapter_config`.
        hyperparameters: Of the method, beyond its defaults.
        adapter_config: An adapter_config.json to use instead of the method.
        head: Task head, None for the architecture's usual one.
        precision: None for bf16, or fp16 on a GPU without it.
        seq_length: None for a usual one, or less where the model takes less.
        target_length: None for a usual one where the model has a target.
        eval_batch_size: Sequences at once in evaluation, None not to look at it.
        new_tokens: Tokens that evaluation generates.
        searched: What to find the largest value of, None for nothing.

    Raises:
        InputError: A value is out of range, or parts do not go together.
    """

    model: str
    method: Method | None
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    adapter_config: Path | None = None
    head: Head | None = None
    n_labels: int = 2
    batch_size: int = 1
    seq_length: int | None = None
    target_length: int | None = None
    accumulation: int = 1
    pack_size: int = 1
    precision: Precision | None = None
    quantization: Quantization | None = None
    optimizer: OptimizerName = "adamw"
    gradient_checkpointing: bool = False
    attention: Attention = "sdpa"
    autocast: bool = False
    holds_outputs: bool = True
    eval_batch_size: int | None = None
    new_tokens: int = 0
    searched: Searched | None = None

    def __post_init__(self) -> None:
        if (self.method is None) == (self.adapter_config is None):
            raise InputError("give either a method or an adapter_config.json")
        if self.adapter_config is not None and self.hyperparameters:
            raise InputError("--set and --adapter-config exclude each other; change the value in the file")
        self._check_choices()
        self._check_sizes()
        if self.method is not None:
            self._check_method(self.method)
        if self.attention == "flash" and self.precision == "fp32":
            raise InputError("--attention flash: flash attention has no float32; use --precision bf16 or fp16")

    def _check_choices(self) -> None:
        for option, value, known in (
            ("--head", self.head, (None, *get_args(Head))),
            ("--precision", self.precision, (None, *get_args(Precision))),
            ("--quantization", self.quantization, (None, *get_args(Quantization))),
            ("--optimizer", self.optimizer, get_args(OptimizerName)),
            ("--attention", self.attention, get_args(Attention)),
            ("--max", self.searched, (None, *get_args(Searched))),
        ):  # fmt: skip
            if value not in known:
                names = ", ".join(name for name in known if name is not None)
                raise InputError(f"{option}: {printable(str(value))} is not one of {names}")

    def _check_sizes(self) -> None:
        sizes: tuple[tuple[str, object, int, int], ...] = (
            ("--labels", self.n_labels, 1, MOST_LABELS), ("--batch-size", self.batch_size, 1, LARGEST_BATCH),
            ("--seq-len", self.seq_length, 1, MOST_TOKENS), ("--target-len", self.target_length, 1, MOST_TOKENS),
            ("--accumulation", self.accumulation, 1, LARGEST_BATCH), ("--pack", self.pack_size, 1, LARGEST_PACK),
            ("--evaluate", self.eval_batch_size, 1, LARGEST_BATCH), ("--new-tokens", self.new_tokens, 0, MOST_TOKENS),
        )  # fmt: skip
        for option, value, least, most in sizes:
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                shown = printable(value) if isinstance(value, str) else value
                raise InputError(f"{option}: {shown} is not a whole number from {least} to {most}")

    def _check_method(self, method: Method) -> None:
        if self.quantization is not None and not method.works_quantized:
            what = "full fine-tuning cannot change" if method.slug == "full" else f"{method.slug} does not work on"
            raise InputError(f"{what} a base model stored in {self.quantization}; use lora, or no quantization")
        if method.slug == "full" and self.pack_size > 1:
            raise InputError("--pack: full fine-tuning has no adapters that could share a base model")
        if method.slug in WITHOUT_CHECKPOINTING and self.gradient_checkpointing:
            raise InputError(f"{method.slug} does not work with gradient checkpointing: PEFT refuses it")
        if self.searched == "rank" and "r" not in method.defaults:
            ranked = ", ".join(slug for slug, one in METHODS.items() if "r" in one.defaults and not one.on_request)
            raise InputError(f"--max rank: {method.slug} has no rank; {ranked} have")


def known_model(name: str) -> str:
    """Return the full name of a model of the catalogue, or what was given when it can only be looked up with torch.

    Raises:
        UnknownNameError: Neither of the catalogue, nor a folder, nor does it look like a hub id.
        DataError: A folder without a config.json that holds a JSON object.
    """
    if not name.strip():
        raise InputError("--model: is empty; give a catalogue or hub id, or a folder with a config.json")
    folder = Path(name).expanduser()
    if folder.is_dir():
        read_config(folder / "config.json")
        return name
    try:
        return find_base_model(name).hf_id
    except UnknownNameError:
        if not _looks_like_hub_id(name):
            raise
        return name


def is_on_hub(name: str) -> bool:
    """Can a model only be on the hub, under `owner/name`: neither a folder nor of the catalogue?"""
    if Path(name).expanduser().is_dir() or not _looks_like_hub_id(name):
        return False
    try:
        find_base_model(name)
    except UnknownNameError:
        return True
    return False


def _looks_like_hub_id(name: str) -> bool:
    return name.count("/") == 1 and all(name.split("/")) and not name.startswith((".", "~", "/"))
