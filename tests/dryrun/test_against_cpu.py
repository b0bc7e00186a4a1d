"""The dry run against the same training loop, run for real on the CPU: every allocation, every free, to the byte.

The truth is a plain loop over a real model with real tensors, watched by a recorder that shares no code with the dry
run. Attention is eager and nothing is dropped, so that no path depends on the kind of device. The optimizer keeps its
counters on the device (fused), else they would be host memory in one run and device memory in the other.
"""

import copy
import weakref
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, PreTrainedConfig, RobertaConfig, T5Config

from advisor.dryrun.peaks import two_steps
from advisor.dryrun.step import StepTrace, run_step
from advisor.dryrun.workload import Workload
from advisor.modeling.base import AUTO_CLASSES
from advisor.modeling.meta import ModelSource
from advisor.modeling.quiet import quiet_libraries

BATCH_SIZE, SEQ_LENGTH, TARGET_LENGTH = 3, 24, 10
_TASK_TYPES = {"causal-lm": "CAUSAL_LM", "sequence-classification": "SEQ_CLS", "seq2seq-lm": "SEQ_2_SEQ_LM"}
SOURCES: dict[str, ModelSource] = {
    "llama": ModelSource(
        name="llama", architecture="decoder-only",
        config=LlamaConfig(
            vocab_size=331, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=112, max_position_embeddings=64, pad_token_id=0,
        ),
    ),
    "roberta": ModelSource(
        name="roberta", architecture="encoder-only",
        config=RobertaConfig(
            vocab_size=331, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=112,
            max_position_embeddings=66, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
    ),
    "t5": ModelSource(
        name="t5", architecture="encoder-decoder",
        config=T5Config(
            vocab_size=331, d_model=64, d_ff=112, d_kv=16, num_layers=2, num_decoder_layers=2, num_heads=4,
            dropout_rate=0.0, decoder_start_token_id=0,
        ),
    ),
}  # fmt: skip
_IA3 = {"llama": ["k_proj", "v_proj", "down_proj"], "roberta": ["key", "value"], "t5": ["k", "v", "wo"]}


class Recorder(TorchDispatchMode):
    """Notes each storage that an operator makes, and its death, as signed bytes."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.changes: list[int] = []
        self._stopped = False
        self._alive: dict[int, weakref.finalize[Any, Any]] = {}
        for tensor in known:
            self._watch(tensor, at_start=True)
        self.resident_bytes = sum(self.changes)
        self.changes.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._watch(leaf)
        return out

    def _watch(self, tensor: torch.Tensor, *, at_start: bool = False) -> None:
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

    def stop(self) -> None:
        """What dies from here on died with the test's own variables."""
        self._stopped = True


def method_config(method: str, family: str, head: str) -> PeftConfig | None:
    task_type = _TASK_TYPES[head]
    if method == "lora":
        return LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type=task_type)
    if method == "dora":
        return LoraConfig(r=4, use_dora=True, target_modules="all-linear", task_type=task_type)
    if method == "ia3":
        return IA3Config(target_modules=_IA3[family], feedforward_modules=_IA3[family][2:], task_type=task_type)
    if method == "prefix-tuning":
        return PrefixTuningConfig(num_virtual_tokens=5, task_type=task_type)
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
    dtype = torch.bfloat16 if asked.precision == "bf16" else torch.float32
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


def train_for_real(asked: Workload, *, steps: int) -> Recorder:
    """The usual loop; `outputs` is a name at its outermost level, so what it holds lives until the next forward pass."""
    torch.manual_seed(0)
    model, data = real_model(asked), real_batch(asked)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, fused=True)
    options = {} if asked.head == "sequence-classification" else {"use_cache": False}
    with quiet_libraries(), Recorder([*model.parameters(), *model.buffers()]) as recorder:
        for _ in range(steps):
            for _ in range(asked.accumulation):
                batch = {name: tensor.clone() for name, tensor in data.items()}
                with torch.autocast("cpu", torch.bfloat16, enabled=asked.autocast):
                    outputs = model(**batch, **options)
                if asked.holds_outputs:
                    outputs.loss.backward()
                else:
                    loss = outputs.loss
                    del outputs
                    loss.backward()
                del batch
                if not asked.holds_outputs:
                    del loss
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        recorder.stop()
    return recorder


def changes_of(trace: StepTrace, events: Iterable[tuple[int, int]]) -> list[int]:
    """Signed bytes of events; `two_steps` numbers the blocks of the second step after those of the first."""
    sizes = [block.nbytes for block in trace.blocks]
    return [sizes[number % len(sizes)] * (1 if nbytes else -1) for number, nbytes in events]


def check_one_step(asked: Workload) -> None:
    trace, recorder = run_step(asked, with_costs=False), train_for_real(asked, steps=1)
    assert sum(nbytes for _, nbytes in trace.events[: trace.step_begins]) == recorder.resident_bytes
    dry = changes_of(trace, trace.events[trace.step_begins : trace.step_ends])
    assert max(accumulate(dry)) == max(accumulate(recorder.changes))
    assert dry == recorder.changes


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("method", ["lora", "ia3", "full"])
@pytest.mark.parametrize("family", SOURCES)
def test_every_allocation_and_every_free_of_a_step_is_that_of_the_real_step(family, method, checkpointing):
    check_one_step(workload(family, method, gradient_checkpointing=checkpointing))


@pytest.mark.parametrize("family", SOURCES)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_steps_in_a_row_are_as_the_trace_of_one_step_foretells(family, method):
    asked = workload(family, method)
    trace, recorder = run_step(asked, with_costs=False), train_for_real(asked, steps=2)
    assert changes_of(trace, list(two_steps(trace))[trace.step_begins :]) == recorder.changes


@pytest.mark.parametrize(
    "options", [{"holds_outputs": False}, {"accumulation": 2}, {"precision": "bf16"}], ids=lambda one: next(iter(one))
)
@pytest.mark.parametrize("family", SOURCES)
def test_other_loops_and_types_are_followed_too(family, options):
    check_one_step(workload(family, "lora", **options))


@pytest.mark.parametrize("method", ["dora", "prefix-tuning"])
@pytest.mark.parametrize("family", SOURCES)
def test_other_methods_are_followed_too(family, method):
    check_one_step(workload(family, method))
