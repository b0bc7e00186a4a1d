"""Memory and time of single training steps of known models, to hold the dry run's estimates against.

Models have random weights and the published shape; nothing is downloaded. A step is what `advisor.dryrun.step` takes
it for: a padded batch moved to the device, forward, loss, backward, clipping, optimizer, gradients set to None. No
estimate is made here: `studies.step_accuracy.compare` makes them, so that a measurement never shares a record with
one. The cases, in the order of their worth, are in `studies.step_accuracy.cases`.

Works with torch 2.11, transformers 5.17 and PEFT 0.18, and later ones; what a version lacks is recorded as not run.
"""

import gc
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from studies.gpu.entry import Entry, Part, Slot
from studies.step_accuracy.cases import CASES, Case

ROOT = Path(__file__).resolve().parents[3]
CLIP_NORM = 1.0
LEARNING_RATE = 1e-4
MEMORY_STEPS = 2  # the optimizer's state exists from the second step's beginning
TIMED_STEPS, MOST_TIMED_STEPS, TIMED_S = 5, 30, 2.0
TINY_SIZES = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 64, "vocab_size": 300, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2,
    "num_decoder_layers": 2, "num_heads": 4,
}  # fmt: skip


class NotRunError(Exception):
    """This machine or these versions cannot run the case."""


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
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    step = partial(training_step, model, build_optimizer(case.optimizer, parameters), parameters, case, slot.device)
    release(slot.device)
    before = begin_peaks(slot.device)
    milestones = {}
    for _ in range(MEMORY_STEPS):
        milestones = dict(step(note=partial(allocated_bytes, slot.device)))
    peaks = read_peaks(slot.device)
    times = timed(lambda: step(note=None), slot)
    return {
        **before,
        **peaks,
        "second_step_allocated_bytes": milestones,
        "reserved_bytes_after_timed_steps": read_peaks(slot.device)["peak_reserved_bytes"],
        **time_summary(times),
        **kernel_times(lambda: step(note=None), slot),
        **facts(model, parameters),
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


def build_model(case: Case, slot: Slot) -> Any:
    """Build the base model from its config on the device, attach the adapter, make it ready for training."""
    import torch

    weights = "fp32" if case.adapter is None and case.autocast else case.precision
    base = build_base(case, slot, dtypes()[weights])
    checkpointing = {"use_reentrant": False}
    if case.quantization is not None:
        from peft import prepare_model_for_kbit_training

        base = prepare_model_for_kbit_training(
            base, use_gradient_checkpointing=case.gradient_checkpointing, gradient_checkpointing_kwargs=checkpointing
        )
    elif case.gradient_checkpointing:
        base.enable_input_require_grads()
        base.gradient_checkpointing_enable(checkpointing)
    if case.adapter is None:
        return base.requires_grad_(True).train()
    model = attach(base, case.adapter)
    if case.autocast:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.float32)
    return model.train()


def build_base(case: Case, slot: Slot, dtype: Any) -> Any:
    """Return the base model with random weights, quantized by transformers' own loading where that is asked for."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

    from advisor.catalog.base_models import find_config

    model_type, values = find_config(case.base_model)
    if slot.smoke:
        values = {**values, **{name: size for name, size in TINY_SIZES.items() if name in values}}
    config = AutoConfig.for_model(model_type, **values)
    config.use_cache = False
    # Ids that the loss and the classifier look for; some configs name none, or one beyond a vocabulary made tiny.
    config.pad_token_id = config.decoder_start_token_id = 0
    config.bos_token_id = config.eos_token_id = 1
    auto_class = {
        "sequence-classification": AutoModelForSequenceClassification, "causal-lm": AutoModelForCausalLM,
        "seq2seq-lm": AutoModelForSeq2SeqLM,
    }[case.head]  # fmt: skip
    attention = "eager" if case.attention == "eager" else "sdpa"
    with torch.device(slot.device):
        model = auto_class.from_config(config, dtype=dtype, attn_implementation=attention)
    if model.can_generate():
        model.generation_config.eos_token_id = None  # random weights must not end a text early
    if case.quantization is None:
        return model
    folder = slot.work / case.name
    model.save_pretrained(folder)
    del model
    release(slot.device)
    try:
        return auto_class.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention, device_map={"": slot.device},
            quantization_config=quantization_config(case, dtype),
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)


def quantization_config(case: Case, dtype: Any) -> Any:
    """Return what `tune` loads quantized models with: LLM.int8, or NF4 with double quantization."""
    from transformers import BitsAndBytesConfig

    skipped = ["classifier", "score"] if case.head == "sequence-classification" else None
    if case.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=skipped,
    )  # fmt: skip


def attach(base: Any, settings: dict[str, Any]) -> Any:
    """Put the adapter on the base model.

    Raises:
        NotRunError: This PEFT does not have the method.
    """
    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    classes = {str(getattr(kind, "value", kind)): found for kind, found in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    options = dict(settings)
    name = options.pop("peft_type")
    if name not in classes:
        raise NotRunError(f"PEFT {peft.__version__} has no {name}")
    return peft.get_peft_model(base, classes[name](**options))


def build_optimizer(name: str, parameters: list[Any]) -> Any:
    """Return the optimizer with its own defaults, as a training script makes it."""
    import torch

    if name == "adamw-8bit":
        from bitsandbytes.optim import AdamW8bit

        return AdamW8bit(parameters, lr=LEARNING_RATE)
    return torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=True if name == "adamw-fused" else None)


Note = Callable[[], int] | None


def training_step(
    model: Any, optimizer: Any, parameters: list[Any], case: Case, device: str, *, note: Note
) -> list[tuple[str, int]]:
    """Take one optimizer step; return the bytes that `note` gives at its turning points."""
    import torch

    noted: list[tuple[str, int]] = []
    for _ in range(case.accumulation):
        noted = forward_backward(model, case, device, note=note)
    torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
    optimizer.step()
    noted.append(("optimizer", note() if note else 0))
    optimizer.zero_grad(set_to_none=True)
    noted.append(("end", note() if note else 0))
    return noted


def forward_backward(model: Any, case: Case, device: str, *, note: Note) -> list[tuple[str, int]]:
    """Compute gradients; the batch and the model's output are alive until the end, as in the usual loop."""
    batch = {name: tensor.to(device) for name, tensor in host_batch(model, case).items()}
    noted = [("batch", note() if note else 0)]
    with autocast(case, device):
        outputs = model(**batch, **forward_options(case))
    loss = outputs.loss
    noted.append(("forward", note() if note else 0))
    loss.backward()
    noted.append(("backward", note() if note else 0))
    return noted


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


def autocast(case: Case, device: str) -> AbstractContextManager[Any]:
    """Return the context of the forward pass."""
    import torch

    if case.autocast and case.precision != "fp32":
        return torch.autocast(device, dtype=dtypes()[case.precision])
    return nullcontext()


def dtypes() -> dict[str, Any]:
    """Return torch's types by the names of precisions."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def release(device: str) -> None:
    """Free what nobody refers to, cuBLAS's workspaces too: the next case pays for its own, as a new process would."""
    import torch

    if device == "cuda":
        gc.collect()
        torch.cuda.synchronize()
        getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)()
        torch.cuda.empty_cache()


def allocated_bytes(device: str) -> int:
    """Return the bytes of live blocks now, 0 where PyTorch does not count them."""
    import torch

    return int(torch.cuda.memory_allocated()) if device == "cuda" else 0


def begin_peaks(device: str) -> dict[str, int | None]:
    """Start counting peaks and return what is held now."""
    import torch

    if device != "cuda":
        return {"allocated_before_bytes": None, "reserved_before_bytes": None}
    torch.cuda.reset_peak_memory_stats()
    return {
        "allocated_before_bytes": int(torch.cuda.memory_allocated()),
        "reserved_before_bytes": int(torch.cuda.memory_reserved()),
    }


def read_peaks(device: str) -> dict[str, int | None]:
    """Peaks since `begin_peaks`, weights included, and what the process holds outside PyTorch's allocator."""
    import torch

    names = ("peak_allocated_bytes", "peak_reserved_bytes", "peak_requested_bytes", "alloc_retries", "outside_bytes")
    if device != "cuda":
        return dict.fromkeys(names)
    torch.cuda.synchronize()
    statistics_now = torch.cuda.memory_stats()
    free, total = torch.cuda.mem_get_info()
    values = (
        torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved(),
        statistics_now.get("requested_bytes.all.peak"), statistics_now.get("num_alloc_retries"),
        total - free - torch.cuda.memory_reserved(),
    )  # fmt: skip
    return dict(zip(names, values, strict=True))


def timed(run: Callable[[], object], slot: Slot) -> list[float]:
    """Return the durations of single runs, each from an idle device to an idle device."""
    times: list[float] = []
    wanted = 2 if slot.smoke else TIMED_STEPS
    while len(times) < wanted or (not slot.smoke and sum(times) < TIMED_S and len(times) < MOST_TIMED_STEPS):
        synchronize(slot.device)
        begun = time.perf_counter()
        run()
        synchronize(slot.device)
        times.append(time.perf_counter() - begun)
    return times


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def time_summary(times: list[float]) -> dict[str, Any]:
    """Return the median, and all durations."""
    return {"step_s": statistics.median(times), "steps_s": [round(value, 6) for value in times]}


def kernel_times(run: Callable[[], object], slot: Slot) -> dict[str, Any]:
    """Return how long the device computed in one step and in how many kernels: the rest of a step is waiting."""
    from torch.profiler import ProfilerActivity, profile

    activity = ProfilerActivity.CUDA if slot.device == "cuda" else ProfilerActivity.CPU
    try:
        with profile(activities=[activity]) as profiler:
            run()
            synchronize(slot.device)
        durations = [event.time_range.elapsed_us() for event in profiler.events() if event.device_type.name == "CUDA"]
    except Exception as error:
        # The profiler needs rights that not every machine gives; memory and time stand without it.
        return {"kernel_s": None, "n_kernels": None, "profiler_error": str(error)[:200]}
    return {"kernel_s": sum(durations) / 1e6, "n_kernels": len(durations)}


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
