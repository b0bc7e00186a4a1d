"""How the answer of a dry run is shown: a table for people, one object for programs."""

import json
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.catalog.gpus import USABLE_SHARE
from advisor.cli.estimate_gpus import spread_that_fits
from advisor.durations import rough_duration
from advisor.feasibility.estimate import PARTS
from advisor.feasibility.step_time import energy_upper_bound_wh, price
from advisor.spec import GIB

if TYPE_CHECKING:
    from advisor.dryrun.answers import Answer

SCHEMA_VERSION = 1
_WIDTH = 100
_EXPLAINED = {
    "weights": "base model as stored", "adapter": "what is trained", "gradients": "of what is trained",
    "optimizer": "its state", "activations": "kept for the backward pass", "logits and loss": "output of the head",
    "workspace": "temporaries and cuBLAS", "fragmentation": "reserved by the allocator, not in use",
    "context": "CUDA itself, assumed",
}  # fmt: skip
_LIMITS = {
    "batch-size": "the most that was looked at", "seq-len": "the most that the model takes",
    "rank": "the width of the model",
}  # fmt: skip


def as_json(answer: "Answer", *, examples: int | None = None, price_per_hour: float | None = None) -> str:
    """Return the answer as one JSON object; bytes, seconds, tokens.

    Args:
        answer: Of the dry run.
        examples: Of the training split, for the time of an epoch.
        price_per_hour: Of the GPU.
    """
    run, workload, gpu = answer.run, answer.workload, answer.gpu
    estimate, method = run.estimate, answer.question.method
    shown: dict[str, object] = {
        "schema_version": SCHEMA_VERSION, "model": workload.source.name, "method": method.slug if method else None,
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
        "tokens_per_step": run.tokens_per_step, "tokens_per_s": run.tokens_per_s, "notes": list(answer.notes),
    }  # fmt: skip
    over = spread_that_fits(answer)
    if over is not None:
        shown |= {
            "gpus_needed": len(over.gpus), "peak_of_gpus_bytes": [one.peak_memory_bytes for one in over.gpus],
            "layers_of_gpus": list(over.layers_per_gpu),
        }  # fmt: skip
    epoch = _epoch(answer, examples, price_per_hour)
    if epoch is not None:
        shown |= {"epoch_s": epoch.duration_s, "energy_wh": epoch.energy_wh, "price": epoch.price}
    if answer.largest is not None:
        shown |= {
            "searched": answer.question.searched, "largest": answer.largest.value, "limited": answer.largest.limited
        }  # fmt: skip
    return json.dumps(shown, indent=2)


def render(answer: "Answer", *, examples: int | None = None, price_per_hour: float | None = None) -> str:
    """Return the answer as text of at most 100 columns; arguments as in `as_json`."""
    lines = [
        *_title(answer), "", *_memory(answer), "", *_verdict(answer), *_time(answer, examples, price_per_hour),
        *answer.notes,
    ]  # fmt: skip
    return "\n".join(_wrapped(_plain(line)) for line in lines)


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
    share = _share(estimate.trainable_params, answer.run.total_params)
    trained = f"{estimate.trainable_params:,} of {answer.run.total_params:,} parameters trained ({share})"
    return [
        f"{workload.source.name}, {answer.method}, {workload.precision}{stored}, {workload.optimizer}, {features}",
        f"{workload.batch_size} x {length} tokens{times}; {trained}",
    ]


def _memory(answer: "Answer") -> list[str]:
    estimate = answer.run.estimate
    context = "device context, assumed" if answer.gpu and answer.gpu.vendor != "nvidia" else _EXPLAINED["context"]
    lines = [
        _row(name, getattr(estimate, field), context if name == "context" else _EXPLAINED[name])
        for name, field in PARTS
        if getattr(estimate, field) > 0
    ]
    reserved, allocated = _gib(estimate.peak_reserved_bytes), _gib(estimate.peak_allocated_bytes)
    split = f"of the device; PyTorch reserves {reserved}, of which {allocated} allocated"
    return ["Peak memory of a training step", *lines, _row("peak", estimate.peak_memory_bytes, split), *_more(answer)]


def _more(answer: "Answer") -> list[str]:
    lines = []
    if answer.run.paged_bytes:
        lines.append(_row("paged", answer.run.paged_bytes, "optimizer state in pageable memory, not counted"))
    if answer.run.inference_peak_bytes is not None:
        new = answer.question.new_tokens
        what = f"generating {new} tokens" if new else "of the loss"
        rows = answer.question.eval_batch_size or answer.question.batch_size
        of_the_device = f"peak of evaluation, {what}, {rows} sequences at once"
        lines.append(_row("evaluation", answer.run.inference_peak_bytes, of_the_device))
    return lines


def _verdict(answer: "Answer") -> list[str]:
    run = answer.run
    if run.margin_bytes is None or run.usable_bytes is None:
        return ["Name a GPU (--gpu) or its memory (--vram) to learn whether it fits."]
    device = f" of the {answer.gpu.name}" if answer.gpu else f" ({100 * USABLE_SHARE:.0f} % of --vram)"
    where = f"{_gib(run.usable_bytes)} GiB usable{device}"
    lines = []
    if answer.largest is not None:
        limit = f", {_LIMITS[answer.question.searched or 'batch-size']}" if answer.largest.limited else ""
        lines.append(f"Largest {answer.question.searched} that fits: {answer.largest.value}{limit}.")
    if run.margin_bytes >= 0:
        lines.append(f"Fits: {_gib(run.margin_bytes)} GiB left of {where}.")
    else:
        lines += [f"Does not fit: {_gib(-run.margin_bytes)} GiB more than {where}.", *_over_several(answer)]
    return lines


def _over_several(answer: "Answer") -> list[str]:
    found = spread_that_fits(answer)
    if found is None:
        return []
    n, gpu = len(found.gpus), answer.gpu
    needed = f"{n} such GPUs" if gpu is None else f"{n} x {gpu.name} ({gpu.vram_gb:g} GB)"
    layers = " + ".join(map(str, found.layers_per_gpu))
    most = f"{_gib(found.peak_memory_bytes)} GiB at most on one (layers {layers})"
    return [
        f"Over several: needs {needed}, {most}.",
        "They work one after the other, so a step takes the time of one GPU and of the transfers.",
    ]


def _time(answer: "Answer", examples: int | None, price_per_hour: float | None) -> list[str]:
    step_time_s, tokens_per_s = answer.step_time_s, answer.tokens_per_s
    if answer.gpu is None or step_time_s is None or tokens_per_s is None:
        return []
    speed = f"{rough_duration(step_time_s)} a step, {tokens_per_s:,.0f} tokens/s with padding"
    lines = [f"Time on {answer.gpu.name}: {speed}."]
    epoch = _epoch(answer, examples, price_per_hour)
    if epoch is not None:
        packed = f" for all {answer.workload.pack_size} adapters" if answer.workload.pack_size > 1 else ""
        energy = "" if epoch.energy_wh is None else f", at most {_short(epoch.energy_wh)} Wh"
        rent = "" if epoch.price is None else f", {epoch.price:.2f} at {price_per_hour:g} an hour"
        lines.append(f"An epoch of {examples:,} examples{packed}: {rough_duration(epoch.duration_s)}{energy}{rent}.")
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Epoch:
    """An epoch of every adapter of the pack."""

    duration_s: float
    energy_wh: float | None
    price: float | None


def _epoch(answer: "Answer", examples: int | None, price_per_hour: float | None) -> _Epoch | None:
    gpu, step_time_s = answer.gpu, answer.step_time_s
    if gpu is None or step_time_s is None or examples is None:
        return None
    steps = -(-examples // (answer.workload.batch_size * answer.workload.accumulation))
    duration_s = steps * step_time_s
    return _Epoch(
        duration_s=duration_s,
        energy_wh=None if gpu.tdp_w is None else energy_upper_bound_wh(gpu, duration_s),
        price=None if price_per_hour is None else price(duration_s, price_per_hour),
    )


def _peft_type(answer: "Answer") -> str | None:
    config = answer.workload.peft_config
    return None if config is None else str(getattr(config.peft_type, "value", config.peft_type))


def _row(name: str, nbytes: int, meaning: str) -> str:
    return f"  {name:<16}{_gib(nbytes):>9} GiB  {meaning}"


def _gib(nbytes: int) -> str:
    text = f"{nbytes / GIB:.2f}"
    return "<0.01" if text == "0.00" and nbytes > 0 else text


def _share(part: int, whole: int) -> str:
    percent = 100 * part / max(1, whole)
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _wrapped(line: str) -> str:
    return "\n".join(textwrap.wrap(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)) if line else line


def _plain(line: str) -> str:
    """Return a line that any terminal can show: names of folders may hold anything."""
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in line)
