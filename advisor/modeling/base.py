"""Base models: loaded once with the head of the task, checked, on the right device and in the right precision.

Weights come from safetensors files only and no code from a model folder is run.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from advisor.candidates import Candidate
from advisor.catalog.positions import usable_positions
from advisor.catalog.tasks import Head, Task, head_of
from advisor.errors import AdvisorError, DataError, InputError
from advisor.modeling.devices import DTYPES, is_out_of_memory, precision_on
from advisor.modeling.load_failures import why_not_loaded
from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.spreading import DeviceMap, device_map, settle
from advisor.spec import Architecture, Precision, Quantization

# "embedding" is no head at all: texts become vectors, which code search compares.
ModelHead = Head | Literal["embedding"]
AUTO_CLASSES: dict[Head, Any] = {
    "sequence-classification": AutoModelForSequenceClassification,
    "causal-lm": AutoModelForCausalLM,
    "seq2seq-lm": AutoModelForSeq2SeqLM,
}
# Parts that some checkpoints lack although they lie below the head: BERT's pooler is trained with the head.
_MAY_BE_NEW = ("pooler.",)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRequest:
    """All that decides how a base model is loaded; equal requests can share one.

    Attributes:
        base_model: Hub id or local folder.
        architecture: As the candidate says.
        head: Head on top, or none for embeddings.
        label_names: Classes in the order of their ids; empty for other heads.
        weights: Precision that the weights are kept in.
        quantization: Storage of the weights, None when not quantized.
        is_multi_label: Whether an example has a set of classes, each decided for itself, instead of one.
        layers_per_device: How the layers are spread over several devices, empty to balance the weights. What is loaded
            may be shared whatever it is.
    """

    base_model: str
    architecture: Architecture
    head: ModelHead
    label_names: tuple[str, ...]
    weights: Precision
    quantization: Quantization | None
    is_multi_label: bool = False
    layers_per_device: tuple[int, ...] = field(default=(), compare=False)


@dataclass(slots=True, kw_only=True)
class BaseModel:
    """A base model in memory.

    Attributes:
        request: What was asked for.
        source: Where it was loaded from: hub id or absolute folder; adapters name it as their base.
        model: The model with its head, frozen or not as `attachment` needs it.
        tokenizer: Its tokenizer, with a pad token.
        device: Where it is, and its inputs go.
        max_positions: Most tokens that the position embeddings allow, None when there is no such limit.
        more_devices: Where further layers are, of a model that is spread over several.
    """

    request: BaseRequest
    source: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    max_positions: int | None
    more_devices: tuple[torch.device, ...] = ()

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All devices, in the order of the forward pass."""
        return (self.device, *self.more_devices)

    @property
    def places(self) -> DeviceMap:
        """Where its modules are, of a model that is spread over several devices; else empty."""
        return dict(vars(self.model)["hf_device_map"]) if self.more_devices else {}

    def device_for(self, name: str) -> torch.device:
        """Return where an input goes: the labels of a classifier to its head, all else to the first device.

        transformers moves the labels of language models itself, after PEFT has put some before them.
        """
        is_at_head = name == "labels" and self.request.head == "sequence-classification"
        return self.devices[-1] if is_at_head else self.device

    @property
    def head_modules(self) -> dict[str, torch.nn.Module]:
        """Modules of the classification head by name; empty for language models."""
        if self.request.head != "sequence-classification":
            return {}
        return {name: self.model.get_submodule(name) for name in head_names(self.model)}


def head_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the names of a classifier's head: all modules with parameters that stand beside the base model.

    They are trained, so they are left out when the base model is quantized. One model type has one ("score"), another
    two (ModernBERT's "head" and "classifier"), so the model is asked.
    """
    return tuple(
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    )


def request_for(candidate: Candidate, task: Task, label_names: tuple[str, ...], device: torch.device) -> BaseRequest:
    """Return how a candidate wants its base model.

    Full fine-tuning keeps float32 weights whatever the precision of its arithmetic: half-precision weights
    would swallow small updates.
    """
    head: ModelHead = "embedding" if task.form == "retrieval" else head_of(task, candidate.architecture)
    return BaseRequest(
        base_model=candidate.base_model,
        architecture=candidate.architecture,
        head=head,
        label_names=label_names if head == "sequence-classification" else (),
        weights="fp32" if candidate.method == "full" else precision_on(device, candidate.precision),
        quantization=candidate.quantization,
        is_multi_label=task.form == "multi-label",
    )


def load_base_model(request: BaseRequest, device: torch.device, *more_devices: torch.device) -> BaseModel:
    """Load a base model with its head and tokenizer.

    The head of a classifier has random weights; `attachment` sets them from a seed.

    Args:
        request: What to load.
        device: Where to.
        more_devices: Of one worker, for a model that is spread over them (`modeling.spreading`).

    Raises:
        DataError: The folder or hub model is missing, broken, or not what the request says.
        InputError: Quantization is not possible here, or there are more devices than layers.
    """
    source = _source(request.base_model)
    _check_quantization(request, device)
    with quiet_libraries(), _one_line_errors(request.base_model):
        config = _config(source, request)
        options = _quantization_config(request, config, device)
        places = _places(request, config, (device, *more_devices))
        if places:
            options["device_map"] = places
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        # The head's random weights must not depend on, nor move, the caller's random numbers.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, info = model_class(request).from_pretrained(
                source,
                config=config,
                dtype=DTYPES[request.weights],
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=request.head == "sequence-classification",
                output_loading_info=True,
                **options,
            )
    if request.head == "embedding":
        leave_out_pooler(model)
    if places:
        settle(model, places)
    elif request.quantization is None:
        model.to(device)
    base = BaseModel(
        request=request,
        source=source,
        model=model,
        tokenizer=tokenizer,
        device=device,
        max_positions=_max_positions(model),
        more_devices=more_devices,
    )
    _check_complete(base, info)
    _check_tokenizer(base)
    _set_pad_token(base)
    _freeze(base)
    return base


def model_class(request: BaseRequest) -> Any:
    """Return transformers' class for a request; of an encoder-decoder only the encoder makes embeddings."""
    if request.head != "embedding":
        return AUTO_CLASSES[request.head]
    return AutoModelForTextEncoding if request.architecture == "encoder-decoder" else AutoModel


def leave_out_pooler(model: PreTrainedModel) -> None:
    """Take away BERT's pooler: embeddings are means of the last layer, and it would be trained (or stay random)."""
    if getattr(model, "pooler", None) is not None:
        model.register_module("pooler", None)


def _source(base_model: str) -> str:
    folder = Path(base_model).expanduser()
    if folder.is_dir():
        if (folder / "adapter_config.json").exists():
            raise DataError(f"{base_model}: is a saved adapter, not a base model; name the model it was trained on")
        return str(folder.absolute())
    if base_model.startswith((".", "/", "~")) or base_model.count("/") > 1:
        raise DataError(f"{base_model}: no such folder")
    return base_model


def _config(source: str, request: BaseRequest) -> PreTrainedConfig:
    labels: dict[str, Any] = {}
    if request.head == "sequence-classification":
        labels = {
            "num_labels": len(request.label_names),
            "id2label": dict(enumerate(request.label_names)),
            "label2id": {name: number for number, name in enumerate(request.label_names)},
            "problem_type": f"{'multi' if request.is_multi_label else 'single'}_label_classification",
        }
    config = AutoConfig.from_pretrained(source, trust_remote_code=False, **labels)
    is_encoder_decoder = bool(getattr(config, "is_encoder_decoder", False))
    if is_encoder_decoder != (request.architecture == "encoder-decoder"):
        kind = "an" if is_encoder_decoder else "no"
        raise DataError(f"{request.base_model}: is {kind} encoder-decoder, but was given as {request.architecture}")
    return config


def _check_quantization(request: BaseRequest, device: torch.device) -> None:
    if request.quantization is None:
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(
            f"quantization {request.quantization} needs bitsandbytes: pip install 'peft-advisor[quantized]'"
        )
    if device.type != "cuda":
        raise InputError(f"quantization {request.quantization} needs a CUDA device; this run uses {device}")


def _places(request: BaseRequest, config: PreTrainedConfig, devices: tuple[torch.device, ...]) -> DeviceMap:
    """Return where the modules of a model go that is spread over devices; empty for one that is not."""
    if len(devices) == 1:
        return {}
    with torch.device("meta"):  # the names and sizes, without weights
        model = model_class(request).from_config(config, trust_remote_code=False)
    return device_map(model, devices, request.layers_per_device)


def _quantization_config(request: BaseRequest, config: PreTrainedConfig, device: torch.device) -> dict[str, Any]:
    if request.quantization is None:
        return {}
    skipped = _unquantized(request.head, config)
    if request.quantization == "8bit":
        storage = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    else:
        # NF4 with double quantization, as in QLoRA (arXiv:2305.14314, section 3).
        storage = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=DTYPES[request.weights],
            llm_int8_skip_modules=skipped,
        )
    return {"quantization_config": storage, "device_map": {"": device}}


def _unquantized(head: ModelHead, config: PreTrainedConfig) -> list[str] | None:
    """Return the modules of a classification head; None leaves the choice to transformers.

    It leaves out the output layer of a language model by itself, but of a classifier the last module only.
    """
    if head != "sequence-classification":
        return None
    with torch.device("meta"):  # the names, without weights
        model = AUTO_CLASSES[head].from_config(config, trust_remote_code=False)
    return list(head_names(model))


def _check_complete(base: BaseModel, info: dict[str, Any]) -> None:
    """Refuse weights that transformers would fill with random numbers, except those of a classification head."""
    may_be_new = tuple(f"{name}." for name in base.head_modules)
    mismatched = (key if isinstance(key, str) else key[0] for key in info["mismatched_keys"])
    new = [
        key
        for key in sorted({*info["missing_keys"], *mismatched})
        if not key.startswith(may_be_new) and not any(part in key for part in _MAY_BE_NEW)
    ]
    if new:
        raise DataError(
            f"{base.request.base_model}: {len(new)} weights are missing or of another shape, such as {new[0]}"
        )


def _check_tokenizer(base: BaseModel) -> None:
    tokenizer, name = base.tokenizer, base.request.base_model
    # Without tokenizer files transformers makes an empty tokenizer that turns every text into nothing.
    known = set(tokenizer("def f(x): return x + 1", add_special_tokens=False)["input_ids"])
    if not known - {tokenizer.unk_token_id}:
        raise DataError(f"{name}: has no usable tokenizer; are its files (tokenizer.json, ...) missing?")
    n_embeddings = next(base.model.get_input_embeddings().parameters()).shape[0]
    if len(tokenizer) > n_embeddings:
        raise DataError(f"{name}: the tokenizer has {len(tokenizer)} tokens, the model only {n_embeddings}")


def _set_pad_token(base: BaseModel) -> None:
    tokenizer = base.tokenizer
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token_id is None:
        raise DataError(f"{base.request.base_model}: the tokenizer has no pad, end or unknown token to pad with")
    # Decoders find the last token of a row by comparing with this id.
    base.model.config.pad_token_id = tokenizer.pad_token_id


def _freeze(base: BaseModel) -> None:
    """Let nothing be trained but what an adapter (or full fine-tuning) asks for; copies share these flags."""
    if base.request.quantization is not None:
        from peft import prepare_model_for_kbit_training

        with quiet_libraries():
            prepare_model_for_kbit_training(base.model, use_gradient_checkpointing=False)
    base.model.requires_grad_(False)
    base.model.eval()


def _max_positions(model: PreTrainedModel) -> int | None:
    config = model.config
    return usable_positions(config.model_type, getattr(config, "max_position_embeddings", None), config.pad_token_id)


@contextmanager
def _one_line_errors(base_model: str) -> Iterator[None]:
    try:
        yield
    except AdvisorError:
        raise
    except Exception as error:  # transformers, safetensors, tokenizers and the hub raise a dozen unrelated classes
        if is_out_of_memory(error):
            raise
        reason = why_not_loaded(base_model, error)
        raise DataError(f"{base_model}: cannot be loaded as a base model ({reason})") from error
