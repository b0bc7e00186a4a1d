"""Adapters merged into the weights of their base model, and the check that the result answers alike.

Each layer is merged in float32 and rounded once to the type of its weights. The walk over the layers is our own:
`merge_and_unload` of PEFT 0.21 stops at classification heads of several layers, which have no `weight`.

Not covered: merging into quantized weights, several adapters at once, models spread over several devices.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from advisor.errors import DataError
from advisor.modeling import tuners  # noqa: F401  # makes them known to PEFT
from advisor.modeling.base import BaseModel, BaseRequest, leave_out_pooler, model_class
from advisor.modeling.devices import DTYPES, is_out_of_memory
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Precision

# Largest distance of the answers, as a share of their length, that is put down to rounding. Weights of 8 (bfloat16) or
# 11 bits (float16) are rounded by up to 2^-9 or 2^-12 of their value, and errors grow over the layers; a head that is
# missing or a layer that was left out is off by more than any of these.
TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1}
_PROBES = (
    "def add(a, b):\n    return a + b\n",
    "for (int i = 0; i < n; i++) { total += values[i]; }",
    "Returns the sum of two numbers.",
)
_PROBE_TOKENS = 32


class UnmergeableError(ValueError):
    """A method that has nothing that weights could take up; its message says why."""


def load_for_merging(base: BaseModel, folder: Path) -> PeftModel:
    """Put a saved adapter of any method on a base model.

    Raises:
        DataError: It does not fit, or is broken.
    """
    try:
        with quiet_libraries(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base.model, str(folder), is_trainable=False)
    except Exception as error:  # PEFT, safetensors and torch raise a dozen unrelated classes
        if is_out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise DataError(f"{folder}: cannot be loaded onto {base.request.base_model} ({reason})") from error
    if any("missing adapter keys" in str(warning.message) for warning in caught):
        raise DataError(f"{folder}: weights of the adapter are missing, or it is of another base model")
    return model.eval()


def merge(model: PeftModel) -> PreTrainedModel:
    """Merge an adapter into its base model, which is changed in place and returned without any trace of PEFT.

    Raises:
        UnmergeableError: The method cannot be merged; layers before the one that refused are merged already.
    """
    tuner = model.base_model
    if not isinstance(tuner, BaseTuner):
        raise UnmergeableError("it changes no weights of the base model")
    base: Any = tuner.model
    with quiet_libraries(), torch.no_grad():
        try:
            tuner._check_merge_allowed()
            _separate_ties(base)
            _merge_layers(base)
            _tell_ties(base)
        except Exception as error:  # methods say in many ways that they cannot
            if is_out_of_memory(error):
                raise
            raise UnmergeableError(" ".join(str(error).split())[:200] or type(error).__name__) from error
    vars(base).pop("peft_config", None)
    if not isinstance(base, PreTrainedModel):
        raise UnmergeableError(f"a {type(base).__name__} is no transformers model")
    return base


def answers_of(model: Any, tokenizer: PreTrainedTokenizerBase, request: BaseRequest) -> list[torch.Tensor]:
    """Return logits (or hidden states, without a head) of a few short texts, each computed alone; float32, on the host.

    Args:
        model: With or without an adapter, in evaluation mode.
        tokenizer: Of the model.
        request: How it was loaded.
    """
    device = next(model.parameters()).device
    half = DTYPES[request.weights]
    found = []
    for text in _PROBES:
        batch = tokenizer(text, truncation=True, max_length=_PROBE_TOKENS, return_tensors="pt")
        inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
        if request.head == "seq2seq-lm":
            inputs["decoder_input_ids"] = inputs["input_ids"]
        with torch.no_grad(), torch.autocast(device.type, dtype=half, enabled=request.weights != "fp32"):
            outputs = model(**inputs)
        answer = outputs.last_hidden_state if request.head == "embedding" else outputs.logits
        found.append(answer.float().cpu())
    return found


def distance(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    """Return the largest ‖found - wanted‖ / ‖wanted‖ of any text; infinite where numbers are not finite."""
    shares = [
        float((one - other).norm() / other.norm().clamp_min(torch.finfo(torch.float32).tiny))
        for one, other in zip(found, wanted, strict=True)
    ]
    return max(share if share == share else float("inf") for share in shares)  # NaN is unlike itself


def reload(folder: Path, request: BaseRequest) -> PreTrainedModel:
    """Load weights from a folder as any user of transformers would.

    Raises:
        DataError: Weights are missing there.
    """
    with quiet_libraries():
        model, info = model_class(request).from_pretrained(
            str(folder), dtype=DTYPES[request.weights], use_safetensors=True, trust_remote_code=False,
            output_loading_info=True,
        )  # fmt: skip
    if request.head == "embedding":
        leave_out_pooler(model)
    missing = [key for key in sorted(info["missing_keys"]) if "pooler." not in key]
    if missing or info["mismatched_keys"]:
        raise DataError(f"{folder}: {len(missing)} merged weights are missing, such as {missing[:1]}")
    loaded: PreTrainedModel = model.eval()
    return loaded


def weights_bytes(model: nn.Module) -> int:
    """Return the bytes that the weights of a model take on a disk, shared ones once."""
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in model.parameters()}
    return sum(storages.values())


def _merge_layers(model: nn.Module) -> None:
    """Put each merged layer in the place of what wraps it, outermost wrappers only: they see to what is in them."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, AuxiliaryTrainingWrapper) or hasattr(child, "unload_and_optionally_merge_module"):
                wrapped: Any = child
                base = child.get_base_layer() if isinstance(child, BaseTunerLayer) else child
                with _Float32(base):
                    merged = wrapped.unload_and_optionally_merge_module(merge=True, safe_merge=True, adapter_names=None)
                setattr(parent, name, merged)
            elif isinstance(child, BaseTunerLayer):
                with _Float32(child.get_base_layer()):
                    child.merge(safe_merge=True)
                # Asked for now: LayerNorm tuning puts a layer of its own in the base layer's place.
                setattr(parent, name, child.get_base_layer())


class _Float32:
    """Within the block the weights of a module are float32; afterwards they are as they were, rounded once."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __enter__(self) -> None:
        own = self._module.parameters(recurse=False)
        self._types = [(one, one.dtype) for one in own if one.dtype in (torch.float16, torch.bfloat16)]
        for parameter, _ in self._types:
            parameter.data = parameter.data.float()

    def __exit__(self, *exception: object) -> None:
        for parameter, dtype in self._types:
            parameter.data = parameter.data.to(dtype)


def _separate_ties(model: Any) -> None:
    """Give the output layer weights of its own where two tied layers are changed each for itself, or only one is.

    Of a head that is trained as a whole PEFT made a copy already, and new tokens are the same in both.
    """
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    if outer is None or not (isinstance(inner, BaseTunerLayer) or isinstance(outer, BaseTunerLayer)):
        return
    first, last = _bare(inner), _bare(outer)
    if last.weight is first.weight:
        last.weight = nn.Parameter(last.weight.detach().clone(), requires_grad=False)


def _bare(layer: Any) -> Any:
    return layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer


def _tell_ties(model: Any) -> None:
    """Say in the configuration when input and output layer do not share their weights any more."""
    inner, outer = model.get_input_embeddings(), model.get_output_embeddings()
    if outer is not None and getattr(model.config, "tie_word_embeddings", False):
        model.config.tie_word_embeddings = outer.weight.data_ptr() == inner.weight.data_ptr()
