"""What predicting with a trained model takes: seconds per example and memory, measured on a few validation examples.

Trials of a study are compared by these figures, so they are taken alone (never in the passes of a pack), on the same
examples, after a warm-up, and as the model will be used: with the adapter merged into the weights where PEFT can do
that and the weights are stored as they are computed with. Nothing is merged for it. A merged model does the same
arithmetic as the base model on other numbers, so a copy of the base model's structure is timed, which shares its
weights: the base model is not touched and no memory is needed for a second one. That PEFT can merge is tried out on
copies of single layers. (`merge_adapter` of PEFT does it for all of them; `merge_and_unload` of PEFT 0.21 stops at
some classification heads.)

The time of a batch is its fastest pass: what else the machine does can only add to it. A generating model is made to
give as many tokens as the median reference has, so that the time does not depend on where an answer happens to end.

Memory is that of all tensors that the model holds and the most that predictions add to it, as the CUDA allocator
reports it; elsewhere the sizes of the tensors of one real pass are added up.

Not covered: loading, tokenization, serving with other batch sizes; merging into half-precision weights rounds to their
precision; what CPU kernels take for themselves.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from statistics import median_high
from typing import Any, Literal

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper, ModulesToSaveWrapper

from advisor.modeling.attachment import AttachedModel
from advisor.modeling.devices import precision_on
from advisor.modeling.quiet import quiet_libraries
from advisor.modeling.sharing import shared_copy
from advisor.spec import Precision
from advisor.training.batches import Batch
from advisor.training.evaluation import autocast, generation_settings, prediction_batches, prediction_inputs
from advisor.training.live_bytes import LiveBytes
from advisor.training.tokens import TokenRow
from advisor.trial import Inference

N_EXAMPLES = 24
BATCH_SIZE = 8
WARM_UP_PASSES, TIMED_PASSES = 1, 4

Form = Literal["merged", "adapter", "model"]


def measure_inference(
    attached: AttachedModel,
    rows: Sequence[TokenRow],
    *,
    precision: Precision,
    clock: Callable[[], float] = time.perf_counter,
) -> Inference:
    """Measure what predicting with a model takes; the model is as before afterwards.

    Args:
        attached: The model, in training or not.
        rows: Rows of the validation split; a few of them are used, the same for every model.
        precision: As in the candidate.
        clock: Seconds.

    Raises:
        torch.OutOfMemoryError: A small batch does not fit beside what the device holds.
        ValueError: There are no rows.
    """
    chosen = _spread(rows, N_EXAMPLES)
    used, form = as_used(attached)
    new_tokens = _new_tokens(used, chosen)
    inputs = [prediction_inputs(used, part) for _, part in prediction_batches(used, chosen, BATCH_SIZE)]
    used.model.eval()
    with quiet_libraries(), torch.no_grad(), autocast(used, precision):
        predict = _predictor(used, new_tokens)
        memory_bytes, basis = _memory(used, inputs, predict)
        latency_s = sum(_fastest_s(used, batch, predict, clock) for batch in inputs) / len(chosen)
    return Inference(
        latency_s=latency_s,
        memory_bytes=memory_bytes,
        memory_basis=basis,
        form=form,
        computation=_computation(used, inputs, new_tokens, precision),
        n_examples=len(chosen),
        batch_size=min(BATCH_SIZE, len(chosen)),
        new_tokens=new_tokens,
    )


def as_used(attached: AttachedModel) -> tuple[AttachedModel, Form]:
    """Return what does the arithmetic of a model as it will be used, and what that is.

    For an adapter that can be merged it is the base model with a head of the trained one's shape: a merged model has
    other values in weights of the same shapes. It shares its weights with the base model.
    """
    if not isinstance(attached.model, PeftModel):
        return attached, "model"
    if not is_mergeable(attached):
        return attached, "adapter"
    model = shared_copy(attached.base.model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(parent, name, child.get_base_layer())
            elif isinstance(child, ModulesToSaveWrapper):
                setattr(parent, name, child.modules_to_save[child.active_adapters[0]])
    return AttachedModel(base=replace(attached.base, model=model), model=model), "merged"


def is_mergeable(attached: AttachedModel) -> bool:
    """Can PEFT merge the adapter into the weights without loss?

    Not a prompt, which has nothing to be merged into, and not into quantized weights, which would be rounded anew. Of
    each kind of layer the smallest is copied and merged, so the answer is what PEFT does, not what is written of it.
    """
    if not isinstance(attached.model, PeftModel) or not isinstance(attached.model.base_model, BaseTuner):
        return False
    wrappers = [one for one in attached.base.model.modules() if isinstance(one, AuxiliaryTrainingWrapper)]
    if not all(isinstance(one, ModulesToSaveWrapper) for one in wrappers):
        return False
    layers = [one for one in attached.base.model.modules() if isinstance(one, BaseTunerLayer)]
    smallest: dict[tuple[object, ...], BaseTunerLayer] = {}
    for layer in sorted(layers, key=_n_parameters):
        base = layer.get_base_layer()
        smallest.setdefault((type(layer), type(base), getattr(base, "bias", None) is None), layer)
    return all(map(_merges, smallest.values()))


def _merges(layer: BaseTunerLayer) -> bool:
    weights = list(layer.get_base_layer().parameters(recurse=False))
    if any(getattr(one, "quant_state", None) is not None or not one.is_floating_point() for one in weights):
        return False
    try:
        with torch.no_grad():
            deepcopy(layer).merge(safe_merge=True)
    except Exception:  # methods say in many ways that they cannot
        return False
    return True


def _n_parameters(layer: BaseTunerLayer) -> int:
    assert isinstance(layer, torch.nn.Module)  # PEFT's class is a mixin
    return sum(parameter.numel() for parameter in layer.parameters())


def _spread(rows: Sequence[TokenRow], n: int) -> list[TokenRow]:
    """Return `n` rows from all over a split (all of them where there are fewer)."""
    if not rows:
        raise ValueError("no rows to predict")
    n = min(n, len(rows))
    return [rows[place * len(rows) // n] for place in range(n)]


def _new_tokens(attached: AttachedModel, rows: Sequence[TokenRow]) -> int:
    if attached.base.request.head in ("sequence-classification", "embedding"):
        return 0
    return max(1, median_high(row.units for row in rows))


def _predictor(attached: AttachedModel, new_tokens: int) -> Callable[[Batch], object]:
    """Return what predicts a batch that is on the device, without turning the answer into text."""
    model: Any = attached.model  # PEFT's and transformers' signatures differ
    if not new_tokens:
        return lambda batch: model(**batch)
    settings = generation_settings(attached, new_tokens)
    settings.update(min_new_tokens=new_tokens)

    def generate(batch: Batch) -> object:
        inputs = {name: tensor for name, tensor in batch.items() if name != "token_type_ids"}
        return model.generate(**inputs, generation_config=settings)

    return generate


def _fastest_s(
    attached: AttachedModel, batch: Batch, predict: Callable[[Batch], object], clock: Callable[[], float]
) -> float:
    """Return the seconds of the fastest pass over a batch, from the host's memory to the answer."""
    devices = attached.base.devices
    passes_s = []
    for _ in range(WARM_UP_PASSES + TIMED_PASSES):
        _synchronize(devices)
        began_s = clock()
        predict(_on(devices[0], batch))
        _synchronize(devices)
        passes_s.append(clock() - began_s)
    return min(passes_s[WARM_UP_PASSES:])


def _on(device: torch.device, batch: Batch) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _synchronize(devices: Sequence[torch.device]) -> None:
    for device in devices:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()


def _memory(
    attached: AttachedModel, batches: Sequence[Batch], predict: Callable[[Batch], object]
) -> tuple[int, Literal["measured", "estimated"]]:
    """Return the bytes that the model holds and predictions add at most, and how the latter are known."""
    devices = attached.base.devices
    device = devices[0]
    held_bytes = sum({storage.data_ptr(): storage.nbytes() for storage in storages_of(attached.model)}.values())
    if device.type != "cuda":
        with LiveBytes() as live:
            predict(_on(device, batches[0]))  # the longest rows
        return held_bytes + live.peak_bytes, "estimated"
    # Adapters and optimizer states of other live trials are on the device too: only the difference is this model's.
    _synchronize(devices)
    for one in devices:
        torch.cuda.reset_peak_memory_stats(one)
    before_bytes = sum(map(torch.cuda.memory_allocated, devices))
    for batch in batches:
        predict(_on(device, batch))
    _synchronize(devices)
    return held_bytes + sum(map(torch.cuda.max_memory_allocated, devices)) - before_bytes, "measured"


def storages_of(model: torch.nn.Module) -> Iterator[torch.UntypedStorage]:
    """Yield what holds the model's tensors; those of quantized weights stand beside their scales."""
    for tensor in (*model.parameters(), *model.buffers()):
        yield tensor.untyped_storage()
        scales = getattr(tensor, "quant_state", None)
        for scale in (scales, getattr(scales, "state2", None)):
            for value in vars(scale).values() if scale is not None else ():
                if isinstance(value, torch.Tensor):
                    yield value.untyped_storage()
        for name in ("SCB", "CB"):
            value = getattr(tensor, name, None)
            if isinstance(value, torch.Tensor):
                yield value.untyped_storage()


def _computation(attached: AttachedModel, batches: Sequence[Batch], new_tokens: int, precision: Precision) -> str:
    """Name the arithmetic: modules, shapes and types of all weights, shapes of batches, tokens, precision."""
    model = attached.model
    config = attached.base.model.config.to_diff_dict()
    told = {
        "config": {name: value for name, value in config.items() if not name.startswith(("_", "transformers_version"))},
        "modules": [(name, type(module).__name__) for name, module in model.named_modules()],
        "tensors": [
            (name, list(tensor.shape), str(tensor.dtype))
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        ],
        "batches": [list(batch["input_ids"].shape) for batch in batches],
        "new_tokens": new_tokens,
        "precision": precision_on(attached.base.device, precision),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]
