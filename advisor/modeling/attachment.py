"""A base model with an adapter on it: attached for training, loaded, saved, and taken off without a trace."""

import errno
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import PreTrainedModel

from advisor.candidates import WITHOUT_CHECKPOINTING, Candidate
from advisor.errors import DataError
from advisor.modeling.adapters import UnsupportedCandidateError, build_config, freeze_constants
from advisor.modeling.base import BaseModel, leave_out_pooler, model_class
from advisor.modeling.devices import is_out_of_memory, release_memory
from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.snapshot import Snapshot
from advisor.modeling.spreading import ACROSS_LAYERS

ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(slots=True, kw_only=True)
class AttachedModel:
    """A base model in use: with an adapter, fully trainable, or untuned.

    Attributes:
        base: The base model underneath.
        model: What is called: a `PeftModel`, or the base model itself.
    """

    base: BaseModel
    model: PeftModel | PreTrainedModel
    _snapshot: Snapshot | None = None

    @property
    def trainable_parameters(self) -> list[torch.nn.Parameter]:
        """Parameters that training changes: adapter and head."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @property
    def virtual_tokens(self) -> int:
        """Positions that the adapter takes for itself in every row."""
        if isinstance(self.model, PeftModel) and self.model.active_peft_config.is_prompt_learning:
            return int(self.model.active_peft_config.num_virtual_tokens)
        return 0

    @property
    def padding_side(self) -> Literal["left", "right"]:
        """Where rows are padded when they are classified or scored (generation by a decoder always pads left).

        A decoder's classifier reads the last token. It finds it by token id, but with a soft prompt it sees
        embeddings only and takes the last position.
        """
        is_classifier = self.base.request.head == "sequence-classification"
        return "left" if is_classifier and self.padding_matters else "right"

    @property
    def padding_matters(self) -> bool:
        """Does padding on the left change what the model says?

        On a decoder PEFT puts a soft prompt before the padding and drops position ids, so the padding moves the
        text away from the prompt. Rows of one length predicted together need no padding.
        """
        is_soft_prompt = isinstance(self.model, PeftModel) and self.model.active_peft_config.peft_type in (
            "PROMPT_TUNING",
            "P_TUNING",
        )
        return is_soft_prompt and self.base.request.architecture == "decoder-only"

    @property
    def forward_options(self) -> dict[str, bool]:
        """Keyword arguments of a forward pass that needs no keys and values of the past afterwards."""
        request = self.base.request
        if request.head == "embedding":  # encoders keep nothing and need not know the word
            return {"use_cache": False} if request.architecture == "decoder-only" else {}
        return {"use_cache": False} if request.head != "sequence-classification" else {}

    def save(self, folder: Path) -> None:
        """Write adapter (or whole model, after full fine-tuning) and tokenizer; the folder appears whole or not at all.

        A classifier's folder also has the base model's config.json, which holds the names of the classes.
        """
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with quiet_libraries(), _full_disk_is_an_os_error():
            if isinstance(self.model, PeftModel):
                # Embeddings are never resized, so PEFT need not ask the hub whether they were.
                self.model.save_pretrained(str(part), save_embedding_layers=False)
                if self.base.head_modules:
                    self.base.model.config.save_pretrained(part)
            else:
                self.model.save_pretrained(part)
            self.base.tokenizer.save_pretrained(part)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)

    def detach(self) -> bool:
        """Take the adapter off and free its memory.

        Returns:
            Whether the base model is as it was before; if not, it must be loaded anew.
        """
        # Parts of the adapter refer to each other; only the base model may survive.
        self.model = self.base.model
        intact = self._snapshot is None or self._snapshot.restore()
        release_memory(self.base.device)
        return intact


@contextmanager
def _full_disk_is_an_os_error() -> Iterator[None]:
    """safetensors hides what the operating system said in an error of its own."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(errno.EIO, " ".join(str(error).split())) from error


def attach_adapter(base: BaseModel, candidate: Candidate, *, seed: int) -> AttachedModel:
    """Put a new adapter on a base model, ready for training.

    Args:
        base: Resident base model that nothing else is attached to.
        candidate: Method and hyperparameters.
        seed: Of the random weights of head and adapter.

    Raises:
        UnsupportedCandidateError: The combination does not work; the base model is left as it was.
    """
    config = build_config(candidate, base)
    _check_checkpointing(base, candidate)
    _check_spread(base, candidate)
    snapshot = Snapshot(base.model, values=_changed_tensors(base, everything=changes_base(candidate)))
    try:
        with torch.random.fork_rng(devices=_cuda_devices(base)), quiet_libraries():
            torch.manual_seed(seed)
            _initialise_head(base)
            if candidate.gradient_checkpointing:
                _enable_checkpointing(base)
            if config is None:
                base.model.requires_grad_(True)
                return AttachedModel(base=base, model=base.model, _snapshot=snapshot)
            model = get_peft_model(base.model, config)
            freeze_constants(model)
    except BaseException as error:
        snapshot.restore()
        if not isinstance(error, Exception) or is_out_of_memory(error):
            raise
        raise UnsupportedCandidateError(f"{candidate.method}: {' '.join(str(error).split())[:300]}") from error
    for parameter in model.parameters():
        if parameter.requires_grad:
            # Half-precision weights would swallow small updates; autocast still computes in half precision.
            parameter.data = parameter.data.float()
    return AttachedModel(base=base, model=model, _snapshot=snapshot)


def changes_base(candidate: Candidate) -> bool:
    """Does attaching or training this candidate write into the base model's weights?

    Full fine-tuning does, and initialisations that move a part of the base weights into the adapter, such as PiSSA.
    """
    start = candidate.hyperparameters.get("init_lora_weights", True)
    return candidate.method == "full" or (isinstance(start, str) and start not in ("gaussian", "orthogonal"))


def load_adapter(base: BaseModel, candidate: Candidate, folder: Path) -> AttachedModel:
    """Put a saved adapter (or the weights of full fine-tuning) on a base model, for evaluation.

    Raises:
        DataError: The folder is not what `AttachedModel.save` writes for this candidate.
    """
    is_full = candidate.method == "full"
    weights = "model.safetensors" if is_full else ADAPTER_WEIGHTS
    if not (folder / weights).exists() and not (is_full and (folder / f"{weights}.index.json").exists()):
        raise DataError(f"{folder}: has no {weights}")
    snapshot = Snapshot(base.model, values=_changed_tensors(base, everything=changes_base(candidate)))
    try:
        with quiet_libraries():
            model = _load_weights(base, folder) if is_full else _load_peft(base, folder)
    except BaseException as error:
        snapshot.restore()
        if not isinstance(error, Exception) or isinstance(error, DataError) or is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise DataError(f"{folder}: cannot be loaded ({reason})") from error
    model.eval()
    return AttachedModel(base=base, model=model, _snapshot=snapshot)


def untuned(base: BaseModel, *, seed: int) -> AttachedModel:
    """Return the base model as it is, with a random head from `seed` when it has a classification head."""
    snapshot = Snapshot(base.model, values=_changed_tensors(base, everything=False))
    with torch.random.fork_rng(devices=_cuda_devices(base)):
        torch.manual_seed(seed)
        _initialise_head(base)
    return AttachedModel(base=base, model=base.model, _snapshot=snapshot)


def _check_checkpointing(base: BaseModel, candidate: Candidate) -> None:
    if not candidate.gradient_checkpointing:
        return
    if candidate.method in WITHOUT_CHECKPOINTING:
        raise UnsupportedCandidateError(f"{candidate.method} does not work with gradient checkpointing; leave it off")
    if not base.model.supports_gradient_checkpointing:
        name = f"{candidate.base_model} ({type(base.model).__name__})"
        raise UnsupportedCandidateError(f"{name} has no gradient checkpointing; leave it off")


def _check_spread(base: BaseModel, candidate: Candidate) -> None:
    if base.more_devices and candidate.method in ACROSS_LAYERS:
        why = ACROSS_LAYERS[candidate.method]
        raise UnsupportedCandidateError(f"{why}, which does not work over several GPUs; use another method")


def _enable_checkpointing(base: BaseModel) -> None:
    """Let the layers be computed anew in the backward pass; the snapshot of the base model takes it back.

    It works in training mode only, so evaluation and generation keep their cache. Before an adapter is attached,
    since PEFT looks at it then.
    """
    # transformers and PEFT do this as well, but not in all versions and not on every base; done here, all train alike.
    base.model.enable_input_require_grads()
    base.model.gradient_checkpointing_enable({"use_reentrant": False})


def _load_peft(base: BaseModel, folder: Path) -> PeftModel:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base.model, str(folder), is_trainable=False)
    for warning in caught:
        if "missing adapter keys" in str(warning.message):
            raise DataError(f"{folder}: weights are missing ({' '.join(str(warning.message).split())[:200]})")
    if model.active_peft_config.peft_type == "ADALORA":
        # Else a forward pass with labels fails: AdaLoRA looks for the adapter that is trained
        # (peft/tuners/adalora/model.py).
        tuner: Any = model.base_model
        tuner.trainable_adapter_name = model.active_adapter
    return model


def _load_weights(base: BaseModel, folder: Path) -> PreTrainedModel:
    saved = model_class(base.request).from_pretrained(
        str(folder), dtype=base.model.dtype, use_safetensors=True, trust_remote_code=False
    )
    if base.request.head == "embedding":
        leave_out_pooler(saved)
    base.model.load_state_dict(saved.state_dict())
    return base.model


def _changed_tensors(base: BaseModel, *, everything: bool) -> Iterable[torch.Tensor]:
    """Return the tensors of the base model that training changes in place."""
    if everything:
        return [*base.model.parameters(), *base.model.buffers()]
    return [parameter for module in base.head_modules.values() for parameter in module.parameters()]


def _initialise_head(base: BaseModel) -> None:
    """Draw the weights of a classification head anew, as transformers does when it builds the model."""
    with torch.no_grad():
        for module in base.head_modules.values():
            for parameter in module.parameters():
                parameter._is_hf_initialized = False  # type: ignore[attr-defined]  # else transformers keeps it
            module.apply(base.model._init_weights)


def _cuda_devices(base: BaseModel) -> list[torch.device]:
    return [device for device in base.devices if device.type == "cuda"]
