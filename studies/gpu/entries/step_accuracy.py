"""Memory and time of single training steps of known models, to hold the dry run's estimates against.

Models have random weights and the published shape; nothing is downloaded. A step is what `advisor.dryrun.step` takes
it for: a padded batch moved to the device, forward, loss, backward, clipping, optimizer, gradients set to None. No
estimate is made here: `studies.step_accuracy.compare` makes them, so that a measurement never shares a record with
one. The cases, in the order of their worth, are in `studies.step_accuracy.cases`.

Works with torch 2.11, transformers 5.17 and PEFT 0.18, and later ones; what a version lacks is recorded as not run.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from studies.gpu.entry import Entry, Part, Slot
from studies.step_accuracy.cases import CASES, Case
from studies.step_accuracy.instruments import (
    allocated_bytes,
    begin_peaks,
    kernel_times,
    read_peaks,
    release,
    time_summary,
    timed,
)
from studies.step_accuracy.models import NotRunError, autocast, build_model, build_optimizer

ROOT = Path(__file__).resolve().parents[3]
CLIP_NORM = 1.0
MEMORY_STEPS = 2  # the optimizer's state exists from the second step's beginning


def measure_case(case: Case, slot: Slot) -> dict[str, Any]:
    """Measure one case; what cannot run here, or does not fit, is recorded with the reason."""
    import torch

    from advisor.modeling.quiet import quiet_libraries

    case = case.tiny() if slot.smoke else case
    result: dict[str, Any] = {"case": case.name, "workload": case.description()}
    reason = None
    release(slot.device)
    torch.manual_seed(0)
    try:
        if slot.device != "cuda" and not slot.smoke:
            raise NotRunError("needs a CUDA device")
        if case.needs_bitsandbytes and importlib.util.find_spec("bitsandbytes") is None:
            raise NotRunError("bitsandbytes absent")
        with quiet_libraries():
            return result | (measure_training if case.mode == "training" else measure_inference)(case, slot)
    except (NotRunError, torch.OutOfMemoryError) as error:
        reason = str(error).split("\n")[0]  # the error itself holds on to the tensors of the step
    release(slot.device)
    return result | {"not_run": reason}


def measure_training(case: Case, slot: Slot) -> dict[str, Any]:
    """Peaks over two steps, bytes alive at their turning points, then the time of a step."""
    model = build_model(case, slot)
    loop = Loop(model, case, slot.device)
    release(slot.device)
    before = begin_peaks(slot.device)
    milestones = [loop.step(partial(allocated_bytes, slot.device)) for _ in range(MEMORY_STEPS)]
    peaks = read_peaks(slot.device)
    times = timed(loop.step, slot)
    return {
        **before,
        **peaks,
        "second_step_allocated_bytes": milestones[-1],
        "reserved_bytes_after_timed_steps": read_peaks(slot.device)["peak_reserved_bytes"],
        **time_summary(times),
        **kernel_times(loop.step, slot),
        **facts(model, loop.parameters),
    }


def measure_inference(case: Case, slot: Slot) -> dict[str, Any]:
    """Peaks and time of evaluating the loss, or of generating, without gradients."""
    import torch

    model = build_model(case, slot).eval()
    run = partial(generate if case.mode == "generation" else evaluate, model, case, slot.device)
    release(slot.device)
    before = begin_peaks(slot.device)
    with torch.no_grad():
        run()
        run()
        peaks = read_peaks(slot.device)
        times = timed(run, slot)
    return {**before, **peaks, **time_summary(times), **facts(model, [])}


Note = Callable[[], int] | None


class Loop:
    """The usual training loop: a name in it, `outputs`, keeps the logits until the next forward pass is done."""

    def __init__(self, model: Any, case: Case, device: str) -> None:
        """Make the optimizer, and the batch that every step copies to the device."""
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._model, self._case, self._device = model, case, device
        self._optimizer = build_optimizer(case.optimizer, self.parameters)
        self._host_batch = host_batch(model, case)
        self._outputs: Any = None

    def step(self, note: Note = None) -> dict[str, int]:
        """Take one optimizer step; return what `note` gives at its turning points (of the last pass)."""
        import torch

        noted: dict[str, int] = {}
        for _ in range(self._case.accumulation):
            self._forward_backward(noted, note)
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self._optimizer.step()
        _mark(noted, "optimizer", note)
        self._optimizer.zero_grad(set_to_none=True)
        _mark(noted, "end", note)
        return noted

    def _forward_backward(self, noted: dict[str, int], note: Note) -> None:
        batch = {name: tensor.to(self._device) for name, tensor in self._host_batch.items()}
        _mark(noted, "batch", note)
        with autocast(self._case, self._device):
            self._outputs = self._model(**batch, **forward_options(self._case))
        loss = self._outputs.loss
        if not self._case.holds_outputs:
            self._outputs = None
        _mark(noted, "forward", note)
        loss.backward()
        _mark(noted, "backward", note)


def _mark(noted: dict[str, int], name: str, note: Note) -> None:
    if note is not None:
        noted[name] = note()


def evaluate(model: Any, case: Case, device: str) -> None:
    """Compute the loss of one batch."""
    batch = {name: tensor.to(device) for name, tensor in host_batch(model, case).items()}
    with autocast(case, device):
        model(**batch, **forward_options(case))


def generate(model: Any, case: Case, device: str) -> None:
    """Generate greedily, always the same number of tokens."""
    from transformers import GenerationConfig

    batch = {name: tensor.to(device) for name, tensor in host_batch(model, case).items()}
    del batch["labels"]
    batch["attention_mask"] = batch["attention_mask"].flip(1)  # padded on the left
    settings = GenerationConfig(
        max_new_tokens=case.new_tokens, do_sample=False, use_cache=True, pad_token_id=0, bos_token_id=1,
        eos_token_id=None,
    )  # fmt: skip
    with autocast(case, device):
        tokens = model.generate(**batch, generation_config=settings)
    assert tokens.shape[1] == case.seq_length + case.new_tokens, tokens.shape


def host_batch(model: Any, case: Case) -> dict[str, Any]:
    """Random token ids, mask and labels on the CPU; the last row is a quarter shorter than the others."""
    import torch

    vocabulary = model.config.vocab_size
    input_ids = torch.randint(0, vocabulary, (case.batch_size, case.seq_length))
    attention_mask = torch.ones_like(input_ids)
    attention_mask[-1, case.seq_length - case.seq_length // 4 :] = 0
    if case.head == "sequence-classification":
        labels = torch.randint(0, 2, (case.batch_size,))
    elif case.head == "seq2seq-lm":
        labels = torch.randint(0, vocabulary, (case.batch_size, case.target_length))
        labels[-1, case.target_length - case.target_length // 4 :] = -100
    else:
        labels = input_ids.masked_fill(attention_mask == 0, -100)
    batch = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
    if case.attention == "flash":  # no padding and no mask: the kernel that `sdpa` then chooses is flash attention
        batch["labels"] = input_ids.clone()
        del batch["attention_mask"]
    return batch


def forward_options(case: Case) -> dict[str, bool]:
    """Language models keep no keys and values."""
    return {} if case.head == "sequence-classification" else {"use_cache": False}


def facts(model: Any, parameters: list[Any]) -> dict[str, Any]:
    """Return what the model turned out to be."""
    config = model.config
    return {
        "trainable_params": sum(parameter.numel() for parameter in parameters),
        "parameter_bytes": sum(parameter.nbytes for parameter in model.parameters()),
        "attention_used": getattr(config, "_attn_implementation", None),
    }


def measure_constants(slot: Slot) -> dict[str, Any]:
    """What one process has, whatever it trains: in a process of its own, so that nothing has been used before."""
    command = [sys.executable, "-m", "studies.step_accuracy.constants", "--device", slot.device]
    command += ["--smoke"] if slot.smoke else []
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    constants: dict[str, Any] = json.loads(done.stdout)
    return constants


ENTRY = Entry(
    name="step_accuracy",
    question="What memory and time does one training step of known models take, for the dry run to be held against?",
    parts=(
        Part(name="constants", minutes=0.7, measure=measure_constants),
        *(Part(name=case.name, minutes=case.minutes, measure=partial(measure_case, case)) for case in CASES),
    ),
    columns=("peak_allocated_bytes", "peak_reserved_bytes", "step_s", "kernel_s", "not_run", "duration_s"),
)
