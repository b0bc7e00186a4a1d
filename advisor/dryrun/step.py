"""The real training step, run on the meta device: forward, loss, backward, clipping, optimizer.

What is run is transformers' and PEFT's own code; only tensors without data stand for those with data. One step is
run. The second step, whose peak is the answer because the optimizer's state is there from its beginning, makes the
same allocations without those of the state, so its events follow from the first.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from advisor.dryrun.cuda_on_meta import CudaOnMeta, checkpoint_contexts
from advisor.dryrun.operators import OperatorCost
from advisor.dryrun.optimizers import build_optimizer, cuda_kernels_on_meta, paged_tensors
from advisor.dryrun.peft_methods import attach_on_meta, held_tensors
from advisor.dryrun.regions import LayerTracker, Region
from advisor.dryrun.tracker import Block, Phase, Tracker
from advisor.dryrun.workload import Workload
from advisor.modeling.base import head_names
from advisor.modeling.devices import DTYPES
from advisor.modeling.meta import build_on_meta, depth_of
from advisor.modeling.quantized_meta import bitsandbytes_stand_in, quantize_meta
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import OptimizerName

CLIP_NORM = 1.0
_CHECKPOINTING = {"use_reentrant": False, "context_fn": checkpoint_contexts}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTrace:
    """Everything that one training step allocates and computes.

    Attributes:
        blocks: Every storage; numbers in `events` index them.
        resident: Number of blocks that exist before the step: weights and adapter.
        events: `(block, bytes)` for an allocation, `(block, 0)` for a free, in order.
        step_begins: Index of the first event of the step.
        forward_ends: Index of the first event after the (last) forward pass.
        step_ends: Index of the first event after the step, which are frees of what the loop holds on to until the
            next forward pass has returned.
        costs: What each operator computes and moves, with its phase.
        trainable_params: Parameters that are trained.
        total_params: All parameters, counted as PEFT does.
        regions: What each layer is responsible for, when that was asked for.
    """

    blocks: tuple[Block, ...]
    resident: int
    events: tuple[tuple[int, int], ...]
    step_begins: int
    forward_ends: int
    step_ends: int
    costs: tuple[tuple[Phase, OperatorCost], ...]
    trainable_params: int
    total_params: int
    regions: tuple[Region, ...] = ()


def run_step(workload: Workload, *, with_costs: bool = True) -> StepTrace:
    """Run one training step on the meta device.

    Raises:
        InputError: Model, head and method do not go together.
    """
    return run_model_step(build_model(workload), workload, with_costs=with_costs)


def build_model(workload: Workload) -> PeftModel | PreTrainedModel:
    """Build base model and adapter on the meta device, ready for training."""
    full = workload.peft_config is None
    dtype = torch.float32 if full and workload.autocast else DTYPES[workload.precision]
    base = build_on_meta(
        workload.source, workload.head, dtype=dtype, attention=workload.attention, n_labels=workload.n_labels,
        layers=workload.layers,
    )  # fmt: skip
    checkpointing = workload.gradient_checkpointing
    with quiet_libraries(), _storage(workload):
        if workload.quantization is not None:
            from peft import prepare_model_for_kbit_training

            skip = head_names(base) if workload.head == "sequence-classification" else ()
            quantize_meta(base, workload.quantization, DTYPES[workload.precision], skip)
            prepare_model_for_kbit_training(
                base, use_gradient_checkpointing=checkpointing, gradient_checkpointing_kwargs=_CHECKPOINTING
            )
        elif checkpointing:
            base.enable_input_require_grads()
            base.gradient_checkpointing_enable(_CHECKPOINTING)
        if workload.peft_config is None:
            base.requires_grad_(True)
            base.train()
            return base
        model = attach_on_meta(base, workload.peft_config)
    if workload.autocast:
        for parameter in model.parameters():
            if parameter.requires_grad:  # as `modeling.attachment` does
                parameter.data = parameter.data.float()
    model.train()
    return model


def run_model_step(
    model: torch.nn.Module, workload: Workload, *, with_costs: bool = True, by_layer: bool = False
) -> StepTrace:
    """Run one training step of a model on the meta device; `by_layer` notes the regions of its layers."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    trainable = {id(parameter) for parameter in parameters}
    tracker = (
        LayerTracker(model, workload.layers or depth_of(workload.source.config))
        if by_layer
        else Tracker(with_costs=with_costs)
    )
    tracker.register([tensor for tensor in held_tensors(model) if id(tensor) not in trainable], "weights")
    tracker.register(parameters, "weights" if workload.peft_config is None else "adapter")
    resident, step_begins = len(tracker.blocks), len(tracker.events)
    optimizer = build_optimizer(workload.optimizer, parameters)
    autocast = DTYPES[workload.precision] if workload.autocast and workload.precision != "fp32" else None
    cuda = CudaOnMeta(autocast, flash=workload.flash_capable)
    with quiet_libraries(), _storage(workload), cuda_kernels_on_meta(), _hooks(model, tracker), tracker, cuda:
        outputs = None
        for _ in range(min(2, workload.accumulation)):
            held, outputs = [outputs], None
            outputs = _forward_backward(model, workload, tracker, cuda, held)
        tracker.mark([parameter.grad for parameter in parameters], "gradients")
        _update(tracker, parameters, optimizer)
        tracker.mark(_state_tensors(optimizer), "optimizer")
        tracker.mark(paged_tensors(optimizer), "paged")
        optimizer.zero_grad(set_to_none=True)
        step_ends = len(tracker.events)
        del outputs
    trained, total = _counts(model, parameters)
    return StepTrace(
        blocks=tuple(tracker.blocks), resident=resident, events=tuple(tracker.events), step_begins=step_begins,
        forward_ends=tracker.forward_ends, step_ends=step_ends,
        costs=tuple(tracker.costs), trainable_params=trained, total_params=total,
        regions=tuple(tracker.regions) if isinstance(tracker, LayerTracker) else (),
    )  # fmt: skip


def update_costs(parameters: Sequence[torch.Tensor], optimizer: OptimizerName) -> list[tuple[Phase, OperatorCost]]:
    """Return what clipping and one optimizer step cost for parameters of these shapes and types."""
    alike = [torch.nn.Parameter(torch.empty_like(one)) for one in parameters]
    for parameter in alike:
        parameter.grad = torch.empty_like(parameter)
    tracker = Tracker()
    with cuda_kernels_on_meta(), tracker:
        _update(tracker, alike, build_optimizer(optimizer, alike))
    return tracker.costs


def _update(tracker: Tracker, parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    tracker.phase = "clip"
    torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM, foreach=True)
    tracker.phase = "optimizer"
    optimizer.step()


def _forward_backward(
    model: torch.nn.Module, workload: Workload, tracker: Tracker, cuda: CudaOnMeta, held: list[Any]
) -> Any:
    """Run one pass and return what the loop holds on to; `held` are the outputs of the pass before."""
    tracker.begin_forward()
    batch = inputs_of(workload, workload.batch_size * workload.pack_size, workload.seq_length)
    tracker.mark(batch.values(), "inputs")
    with cuda.autocast():
        outputs = model(**batch, **_options(workload))
    held.clear()  # `outputs = model(...)` lets the old outputs go when the new ones are there
    loss = outputs.loss
    if not workload.holds_outputs:
        outputs = None
    tracker.begin_backward()
    _run_backward(loss)
    return outputs


def _run_backward(loss: torch.Tensor) -> None:
    """Run the backward pass with the function mode on, which layers computed anew in it need.

    `loss.backward()` and `torch.autograd.backward` are themselves subject to the mode, which is off while it handles
    them; so the engine is called as they call it.
    """
    torch.autograd.graph._engine_run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def inputs_of(workload: Workload, batch_size: int, seq_length: int) -> dict[str, torch.Tensor]:
    """Token ids, mask and labels of one padded batch, all of type int64 as a tokenizer and a collator give them."""
    source = (batch_size, seq_length)
    labels: tuple[int, ...] = source
    if workload.head == "sequence-classification":
        labels = (batch_size,)
    elif workload.head == "seq2seq-lm":
        labels = (batch_size, workload.target_length or seq_length)
    shapes: dict[str, tuple[int, ...]] = {"input_ids": source, "attention_mask": source, "labels": labels}
    if workload.attention == "flash":
        del shapes["attention_mask"]
    return {name: torch.empty(shape, dtype=torch.long, device="meta") for name, shape in shapes.items()}


def _options(workload: Workload) -> dict[str, Any]:
    return {"use_cache": False} if workload.head != "sequence-classification" else {}


def _storage(workload: Workload) -> AbstractContextManager[None]:
    return bitsandbytes_stand_in() if workload.quantization is not None else nullcontext()


@contextmanager
def _hooks(model: torch.nn.Module, tracker: Tracker) -> Iterator[None]:
    """Tell the tracker where the output layer of a language model begins, and each layer if it wants to know."""
    with ExitStack() as stack:
        if isinstance(tracker, LayerTracker):
            stack.enter_context(tracker.hooks())
        base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        output = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
        if output is not None:
            hook = output.register_forward_pre_hook(lambda *_: tracker.enter_head())
            stack.callback(hook.remove)
        yield


def _state_tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]  # fmt: skip


def _counts(model: torch.nn.Module, parameters: list[torch.nn.Parameter]) -> tuple[int, int]:
    if isinstance(model, PeftModel):
        trained, total = model.get_nb_trainable_parameters()
        return int(trained), int(total)
    return sum(one.numel() for one in parameters), sum(one.numel() for one in model.parameters())
