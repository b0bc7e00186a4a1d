"""How the answer of a dry run is shown: a table for people, one object for programs."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.catalog.gpus import Gpu
from advisor.feasibility.estimate import PARTS
from advisor.feasibility.step_time import energy_upper_bound_wh, price
from advisor.spec import GIB

if TYPE_CHECKING:
    from advisor.dryrun import Answer

_EXPLAINED = {
    "weights": "base model as stored", "adapter": "what is trained", "gradients": "of what is trained",
    "optimizer": "its state", "activations": "kept for the backward pass", "logits and loss": "output of the head",
    "workspace": "temporaries and cuBLAS", "fragmentation": "reserved by the allocator, not in use",
    "context": "CUDA itself, assumed",
}  # fmt: skip


def as_json(answer: "Answer", gpu: Gpu | None, *, examples: int | None, price_per_hour: float | None) -> str:
    """Return the answer as one JSON object; bytes, seconds, tokens."""
    run, workload = answer.run, answer.workload
    estimate = run.estimate
    shown: dict[str, object] = {
        "model": workload.source.name, "method": answer.question.method.slug if answer.method else None,
        "peft_type": _peft_type(answer), "head": workload.head, "precision": workload.precision,
        "quantization": workload.quantization, "optimizer": workload.optimizer,
        "gradient_checkpointing": workload.gradient_checkpointing, "attention": workload.attention,
        "autocast": workload.autocast, "batch_size": workload.batch_size, "seq_length": workload.seq_length,
        "target_length": workload.target_length, "accumulation": workload.accumulation,
        "pack_size": workload.pack_size, "basis": estimate.basis,
        "trainable_params": estimate.trainable_params, "total_params": run.total_params,
        "peak_allocated_bytes": estimate.peak_allocated_bytes, "peak_reserved_bytes": estimate.peak_reserved_bytes,
        "context_bytes": estimate.context_bytes, "peak_memory_bytes": run.peak_memory_bytes,
        "paged_bytes": run.paged_bytes, "inference_peak_bytes": run.inference_peak_bytes,
        "breakdown": estimate.breakdown, "gpu": gpu.name if gpu else None, "usable_bytes": run.usable_bytes,
        "fits": run.fits, "margin_bytes": run.margin_bytes, "step_time_s": estimate.step_time_s,
        "tokens_per_step": run.tokens_per_step, "tokens_per_s": run.tokens_per_s,
    }  # fmt: skip
    epoch = _epoch(answer, gpu, examples, price_per_hour)
    if epoch is not None:
        shown |= {"epoch_s": epoch.duration_s, "energy_wh": epoch.energy_wh, "price": epoch.price}
    if answer.largest is not None:
        shown |= {
            "searched": answer.question.searched, "largest": answer.largest.value, "limited": answer.largest.limited
        }  # fmt: skip
    return json.dumps(shown, indent=2)


def render(answer: "Answer", gpu: Gpu | None, *, examples: int | None, price_per_hour: float | None) -> str:
    """Return the answer as text."""
    return "\n".join([
        *_title(answer), "", *_memory(answer), "", *_verdict(answer, gpu), *_time(answer, gpu, examples, price_per_hour)
    ])  # fmt: skip


def _title(answer: "Answer") -> list[str]:
    workload, estimate = answer.workload, answer.run.estimate
    stored = f", base in {workload.quantization.replace('bit', ' bits')}" if workload.quantization else ""
    length = f"{workload.seq_length}" + (f" + {workload.target_length}" if workload.target_length else "")
    times = "".join(
        f" x {number} {word}"
        for number, word in ((workload.accumulation, "accumulated"), (workload.pack_size, "packed adapters"))
        if number > 1
    )
    extras = ["gradient checkpointing"] * workload.gradient_checkpointing + ["autocast"] * workload.autocast
    features = ", ".join([f"{workload.attention} attention", *extras])
    share = 100 * estimate.trainable_params / max(1, answer.run.total_params)
    trained = f"{estimate.trainable_params:,} of {answer.run.total_params:,} parameters trained ({share:.2g} %)"
    return [
        f"{workload.source.name}, {answer.method}, {workload.precision}{stored}, {workload.optimizer}, {features}",
        f"{workload.batch_size} x {length} tokens{times}; {trained}",
    ]


def _memory(answer: "Answer") -> list[str]:
    estimate = answer.run.estimate
    lines = [
        f"  {name:<16}{_gib(getattr(estimate, field)):>9} GiB  {_EXPLAINED[name]}"
        for name, field in PARTS
        if getattr(estimate, field) > 0
    ]
    reserved, allocated = _gib(estimate.peak_reserved_bytes), _gib(estimate.peak_allocated_bytes)
    split = f"of the device; PyTorch reserves {reserved}, of which {allocated} allocated"
    return [
        "Peak memory of a training step",
        *lines,
        f"  {'peak':<16}{_gib(estimate.peak_memory_bytes):>9} GiB  {split}",
        *_more(answer),
    ]


def _more(answer: "Answer") -> list[str]:
    lines = []
    if answer.run.paged_bytes:
        lines.append(
            f"  {'paged':<16}{_gib(answer.run.paged_bytes):>9} GiB  optimizer state in pageable memory, not counted"
        )
    if answer.run.inference_peak_bytes is not None:
        what = f"generating {answer.question.new_tokens} tokens" if answer.question.new_tokens else "by loss"
        rows = answer.question.eval_batch_size or answer.question.batch_size
        lines.append(
            f"  {'evaluation':<16}{_gib(answer.run.inference_peak_bytes):>9} GiB  {what}, {rows} sequences at once"
        )
    return lines


def _verdict(answer: "Answer", gpu: Gpu | None) -> list[str]:
    run = answer.run
    if run.margin_bytes is None or run.usable_bytes is None:
        return ["Name a GPU (--gpu) or its memory (--vram) to learn whether it fits."]
    where = f"{_gib(run.usable_bytes)} GiB usable" + (f" of the {gpu.name}" if gpu else "")
    lines = []
    if answer.largest is not None:
        limit = ", the most that was looked at" if answer.largest.limited else ""
        lines.append(f"Largest {answer.question.searched} that fits: {answer.largest.value}{limit}.")
    if run.margin_bytes >= 0:
        lines.append(f"Fits: {_gib(run.margin_bytes)} GiB left of {where}.")
    else:
        lines.append(f"Does not fit: {_gib(-run.margin_bytes)} GiB more than {where}.")
    return lines


def _time(answer: "Answer", gpu: Gpu | None, examples: int | None, price_per_hour: float | None) -> list[str]:
    step_time_s, tokens_per_s = answer.run.estimate.step_time_s, answer.run.tokens_per_s
    if gpu is None or step_time_s is None or tokens_per_s is None:
        return []
    lines = [f"Time on {gpu.name}: {_duration(step_time_s)} a step, {tokens_per_s:,.0f} tokens/s."]
    epoch = _epoch(answer, gpu, examples, price_per_hour)
    if epoch is not None:
        energy = "" if epoch.energy_wh is None else f", at most {epoch.energy_wh:,.0f} Wh"
        rent = "" if epoch.price is None else f", {epoch.price:.2f} at {price_per_hour:g} an hour"
        lines.append(f"An epoch of {examples:,} examples: {_duration(epoch.duration_s)}{energy}{rent}.")
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Epoch:
    duration_s: float
    energy_wh: float | None
    price: float | None


def _epoch(answer: "Answer", gpu: Gpu | None, examples: int | None, price_per_hour: float | None) -> _Epoch | None:
    step_time_s = answer.run.estimate.step_time_s
    if gpu is None or step_time_s is None or examples is None:
        return None
    workload = answer.workload
    steps = -(-examples // (workload.batch_size * workload.accumulation))
    duration_s = steps * step_time_s / workload.pack_size
    return _Epoch(
        duration_s=duration_s,
        energy_wh=None if gpu.tdp_w is None else energy_upper_bound_wh(gpu, duration_s),
        price=None if price_per_hour is None else price(duration_s, price_per_hour),
    )


def _peft_type(answer: "Answer") -> str | None:
    config = answer.workload.peft_config
    return None if config is None else str(getattr(config.peft_type, "value", config.peft_type))


def _gib(nbytes: int) -> str:
    return f"{nbytes / GIB:.2f}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
