"""Peak memory without training: evaluation by loss, and generation with a cache of keys and values.

Evaluation often is what runs out of memory: its batches are larger and a generating model keeps keys and values of
every token. Generation is not run token by token. Its memory is largest either when the prompt is read or at the last
token, when the cache is longest; both passes are run, the last one with a cache of its final length.

Not covered: beam search beyond a larger batch, static and quantized caches, models with a state instead of a cache.
"""

from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer

from advisor.dryrun.allocator import Peaks, replay
from advisor.dryrun.cuda_on_meta import CudaOnMeta
from advisor.dryrun.peft_methods import held_tensors
from advisor.dryrun.step import build_model, inputs_of
from advisor.dryrun.tracker import Tracker
from advisor.dryrun.workload import Workload
from advisor.errors import InputError
from advisor.modeling.devices import DTYPES
from advisor.modeling.quiet import quiet_libraries


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What is computed without gradients.

    Attributes:
        batch_size: Sequences at once.
        seq_length: Tokens of each prompt or source, padded to the longest.
        new_tokens: Tokens to generate; 0 evaluates the loss instead.
    """

    batch_size: int
    seq_length: int
    new_tokens: int = 0


def inference_peaks(workload: Workload, inference: Inference) -> Peaks:
    """Return the peaks of evaluating or generating with the model of a workload, weights and adapter included.

    Raises:
        InputError: The model has no language model head, so it cannot generate.
    """
    if inference.new_tokens and workload.head == "sequence-classification":
        raise InputError("a classifier does not generate; leave out --new-tokens")
    model = build_model(workload)
    model.eval()
    tracker = Tracker(with_costs=False)
    tracker.register(held_tensors(model), "weights")
    cuda = CudaOnMeta(_autocast(workload), flash=workload.flash_capable)
    with quiet_libraries(), torch.no_grad(), tracker, cuda, cuda.autocast():
        if inference.new_tokens:
            _generate(model, workload, inference)
        else:
            outputs = model(**inputs_of(workload, inference.batch_size, inference.seq_length))
            del outputs
    return replay(tracker.events)


def _autocast(workload: Workload) -> torch.dtype | None:
    return DTYPES[workload.precision] if workload.autocast and workload.precision != "fp32" else None


def _generate(model: torch.nn.Module, workload: Workload, inference: Inference) -> None:
    inputs = inputs_of(workload, inference.batch_size, inference.seq_length)
    del inputs["labels"]
    if workload.head == "seq2seq-lm":
        _generate_target(model, inputs, inference)
        return
    outputs = model(**inputs, use_cache=True, logits_to_keep=1)
    cache = outputs.past_key_values
    layers, held = _layers_of(cache), int(cache.get_seq_length())
    del outputs, cache
    if inference.new_tokens == 1:  # the prompt's own pass gives the first token
        return
    total = held + inference.new_tokens - 2
    grown = _grown(layers, total)
    ids = torch.empty((inference.batch_size, 1), dtype=torch.long, device="meta")
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    positions = torch.empty((inference.batch_size, 1), dtype=torch.long, device="meta")
    mask = torch.empty((inference.batch_size, total + 1), dtype=torch.long, device="meta")
    base(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=grown, use_cache=True)


def _generate_target(model: torch.nn.Module, inputs: dict[str, torch.Tensor], inference: Inference) -> None:
    """The encoder runs once; the decoder's last step has all earlier tokens in its cache."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    encoded = base.get_encoder()(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    first = torch.empty((inference.batch_size, 1), dtype=torch.long, device="meta")
    options = {"encoder_outputs": encoded, "attention_mask": inputs["attention_mask"], "use_cache": True}
    cache = base(decoder_input_ids=first, **options).past_key_values
    if inference.new_tokens == 1:
        return
    layers, crossed, is_updated = _layers_of(cache.self_attention_cache), cache.cross_attention_cache, cache.is_updated
    del cache
    grown = EncoderDecoderCache(_grown(layers, inference.new_tokens - 1), crossed)
    grown.is_updated = dict(is_updated)
    base(decoder_input_ids=first, past_key_values=grown, **options)


def _layers_of(cache: Any) -> list[tuple[torch.Size, torch.Size, torch.dtype]]:
    """Return the shapes of keys and values, (batch, heads, tokens, size), and their type, layer by layer."""
    return [(layer.keys.shape, layer.values.shape, layer.keys.dtype) for layer in cache.layers]


def _grown(layers: list[tuple[torch.Size, torch.Size, torch.dtype]], tokens: int) -> DynamicCache:
    """Return a cache of the same layers that holds `tokens` tokens."""
    longer = DynamicCache()
    for keys, values, dtype in layers:
        layer = DynamicLayer()
        layer.keys, layer.values = (
            torch.empty((batch, heads, tokens, size), dtype=dtype, device="meta")
            for batch, heads, _, size in (keys, values)
        )
        layer.dtype, layer.device, layer.is_initialized = dtype, layer.keys.device, True
        longer.layers.append(layer)
    return longer
