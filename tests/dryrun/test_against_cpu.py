"""The dry run against the same training loop, run for real on the CPU: every allocation, every free, to the byte.

The truth is a plain loop over a real model with real tensors, watched by a recorder that shares no code with the dry
run. Attention is eager and nothing is dropped, so that no path depends on the kind of device. The optimizer keeps its
counters on the device (fused), else they would be host memory in one run and device memory in the other.
"""

import copy
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, get_peft_model
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, PreTrainedConfig, RobertaConfig, T5Config

from advisor.dryrun.peaks import two_steps
from advisor.dryrun.step import StepTrace, run_step
from advisor.dryrun.workload import Workload
from advisor.modeling.base import AUTO_CLASSES
from advisor.modeling.meta import ModelSource
from advisor.modeling.quiet import quiet_libraries

pytestmark = pytest.mark.slow  # together more than the fast part can take

BATCH_SIZE, SEQ_LENGTH, TARGET_LENGTH = 3, 24, 10
LAYERS, VIRTUAL_TOKENS = 2, 5
_TASK_TYPES = {"causal-lm": "CAUSAL_LM", "sequence-classification": "SEQ_CLS", "seq2seq-lm": "SEQ_2_SEQ_LM"}
SOURCES: dict[str, ModelSource] = {
    "llama": ModelSource(
        name="llama", architecture="decoder-only",
        config=LlamaConfig(
            vocab_size=331, hidden_size=64, num_hidden_layers=LAYERS, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=112, max_position_embeddings=64, pad_token_id=0,
        ),
    ),
    "roberta": ModelSource(
        name="roberta", architecture="encoder-only",
        config=RobertaConfig(
            vocab_size=331, hidden_size=64, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=112,
            max_position_embeddings=66, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
    ),
    "t5": ModelSource(
        name="t5", architecture="encoder-decoder",
        config=T5Config(
            vocab_size=331, d_model=64, d_ff=112, d_kv=16, num_layers=LAYERS, num_decoder_layers=LAYERS, num_heads=4,
            dropout_rate=0.0, decoder_start_token_id=0,
        ),
    ),
}  # fmt: skip
_IA3 = {"llama": ["k_proj", "v_proj", "down_proj"], "roberta": ["key", "value"], "t5": ["k", "v", "wo"]}


class Recorder(TorchDispatchMode):
    """Notes each storage that an operator makes, and its death, as signed bytes."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.changes: list[int] = []
        self._stopped = False
        self._alive: dict[int, weakref.finalize[Any, Any]] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            self._watch(tensor)
        self.resident_bytes = sum(self.changes)
        self.changes.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._watch(leaf)
        return out

    def _watch(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if not storage.nbytes() or key in self._alive:
            return
        self.changes.append(storage.nbytes())
        self._alive[key] = weakref.finalize(storage, self._died, key, storage.nbytes())
        self._alive[key].atexit = False

    def _died(self, key: int, nbytes: int) -> None:
        del self._alive[key]
        if not self._stopped:
            self.changes.append(-nbytes)

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._stopped = True  # what dies from here on dies with the loop's own variables


def method_config(method: str, family: str, head: str) -> PeftConfig | None:
    task_type = _TASK_TYPES[head]
    if method == "lora":
        return LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type=task_type)
    if method == "dora":
        return LoraConfig(r=4, use_dora=True, target_modules="all-linear", task_type=task_type)
    if method == "ia3":
        return IA3Config(target_modules=_IA3[family], feedforward_modules=_IA3[family][2:], task_type=task_type)
    if method == "prefix-tuning":
        return PrefixTuningConfig(num_virtual_tokens=VIRTUAL_TOKENS, task_type=task_type)
    return None


def workload(family: str, method: str, **options: Any) -> Workload:
    source = SOURCES[family]
    return Workload(
        source=source, head=source.default_head, peft_config=method_config(method, family, source.default_head),
        optimizer="adamw-fused", attention="eager", batch_size=BATCH_SIZE, seq_length=SEQ_LENGTH,
        target_length=TARGET_LENGTH if family == "t5" else 0, **{"precision": "fp32", **options},
    )  # fmt: skip


def real_model(asked: Workload) -> torch.nn.Module:
    config: PreTrainedConfig = copy.deepcopy(asked.source.config)
    config.num_labels, config.use_cache = 2, False
    full = asked.peft_config is None
    dtype = torch.bfloat16 if asked.precision == "bf16" and not (full and asked.autocast) else torch.float32
    with quiet_libraries():
        model = AUTO_CLASSES[asked.head].from_config(config, dtype=dtype, attn_implementation="eager")
        if asked.gradient_checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if asked.peft_config is not None:
            model = get_peft_model(model, copy.deepcopy(asked.peft_config))
            for parameter in model.parameters():
                if asked.autocast and parameter.requires_grad:
                    parameter.data = parameter.data.float()
    return model.train()


def real_batch(asked: Workload) -> dict[str, torch.Tensor]:
    shape = (BATCH_SIZE, SEQ_LENGTH)
    ids, mask = torch.randint(2, 331, shape), torch.ones(shape, dtype=torch.long)
    mask[-1, 20:] = 0
    labels = {"sequence-classification": torch.tensor([0, 1, 1]), "causal-lm": ids.clone(),
              "seq2seq-lm": torch.randint(2, 331, (BATCH_SIZE, TARGET_LENGTH))}[asked.head]  # fmt: skip
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def train(asked: Workload, *, steps: int, watch: Callable[[torch.nn.Module], Any]) -> Any:
    """The usual loop; `outputs` is one of its own names, so what it holds lives until the next forward pass is done."""
    torch.manual_seed(0)
    model, data = real_model(asked), real_batch(asked)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, fused=True)
    options = {} if asked.head == "sequence-classification" else {"use_cache": False}
    with quiet_libraries(), watch(model) as seen:
        for _ in range(steps):
            for _ in range(asked.accumulation):
                batch = {name: tensor.clone() for name, tensor in data.items()}
                with torch.autocast("cpu", torch.bfloat16, enabled=asked.autocast):
                    outputs = model(**batch, **options)
                loss = outputs.loss
                if not asked.holds_outputs:
                    del outputs
                loss.backward()
                del batch, loss
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return seen


def train_for_real(asked: Workload, *, steps: int = 1) -> Recorder:
    recorder: Recorder = train(asked, steps=steps, watch=Recorder)
    return recorder


def changes_of(trace: StepTrace, events: Iterable[tuple[int, int]]) -> list[int]:
    """Signed bytes of events; `two_steps` numbers the blocks of the second step after those of the first."""
    sizes = [block.nbytes for block in trace.blocks]
    return [sizes[number % len(sizes)] * (1 if nbytes else -1) for number, nbytes in events]


def dry_changes(asked: Workload) -> list[int]:
    trace = run_step(asked, with_costs=False)
    return changes_of(trace, trace.events[trace.step_begins : trace.step_ends])


def peak(changes: Iterable[int]) -> int:
    return max(accumulate(changes))


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("method", ["lora", "ia3", "full"])
@pytest.mark.parametrize("family", SOURCES)
def test_every_allocation_and_every_free_of_a_step_is_that_of_the_real_step(family, method, checkpointing):
    asked = workload(family, method, gradient_checkpointing=checkpointing)
    trace, recorder = run_step(asked, with_costs=False), train_for_real(asked)
    dry = changes_of(trace, trace.events[trace.step_begins : trace.step_ends])
    assert sum(nbytes for _, nbytes in trace.events[: trace.step_begins]) == recorder.resident_bytes
    assert peak(dry) == peak(recorder.changes)
    assert dry == recorder.changes


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", SOURCES)
def test_two_steps_in_a_row_are_as_the_trace_of_one_step_foretells(family, method):
    asked = workload(family, method)
    trace, recorder = run_step(asked, with_costs=False), train_for_real(asked, steps=2)
    assert changes_of(trace, list(two_steps(trace))[trace.step_begins :]) == recorder.changes


@pytest.mark.parametrize(
    ("family", "method", "options"),
    [
        ("llama", "lora", {"holds_outputs": False}), ("t5", "lora", {"holds_outputs": False}),
        ("llama", "lora", {"accumulation": 2}), ("roberta", "full", {"accumulation": 2}),
        # Not RoBERTa in bf16: on a CPU LayerNorm keeps its sums in bf16, on CUDA in float32.
        ("llama", "lora", {"precision": "bf16"}), ("t5", "ia3", {"precision": "bf16"}),
        ("llama", "full", {"precision": "bf16"}), ("roberta", "dora", {}), ("llama", "dora", {}),
    ],
)  # fmt: skip
def test_other_loops_methods_and_types_are_followed_to_the_byte_too(family, method, options):
    asked = workload(family, method, **options)
    assert dry_changes(asked) == train_for_real(asked).changes


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("method", ["lora", "ia3", "full"])
def test_autocast_makes_the_copies_that_the_real_one_makes(method, checkpointing):
    # Llama alone: its operators are on the lists of CUDA's and of the CPU's autocast alike. In which order the
    # arguments of one operator are cast is left open by C++.
    asked = workload("llama", method, precision="bf16", autocast=True, gradient_checkpointing=checkpointing)
    dry, real = dry_changes(asked), train_for_real(asked).changes
    assert peak(dry) == peak(real)
    assert Counter(dry) == Counter(real)


@pytest.mark.parametrize("family", SOURCES)
def test_prefix_tuning_differs_by_the_copy_of_the_prompt_s_numbers_alone(family):
    # PEFT keeps them on the CPU and copies one row of five per sequence to the device; here both are the CPU.
    asked = workload(family, "prefix-tuning")
    more = peak(dry_changes(asked)) - peak(train_for_real(asked).changes)
    assert 0 <= more <= 2 * BATCH_SIZE * VIRTUAL_TOKENS * torch.int64.itemsize


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize(("family", "method"), [("llama", "lora"), ("roberta", "full"), ("t5", "ia3")])
def test_the_peak_is_that_in_the_log_of_pytorch_s_own_allocator(family, method, checkpointing):
    asked = workload(family, method, gradient_checkpointing=checkpointing)
    profiler = train(asked, steps=1, watch=lambda _: profile(activities=[ProfilerActivity.CPU], profile_memory=True))
    log = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    more = peak(event.nbytes() for event in log) - peak(dry_changes(asked))
    # Host memory of a real run: scalars, and with checkpointing the state of the random numbers for each layer.
    states = LAYERS * 2 + 1 if checkpointing else 0
    assert 0 <= more <= 512 + states * torch.get_rng_state().nbytes
