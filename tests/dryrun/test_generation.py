"""Evaluation and generation against the same done for real on the CPU, and a cache of keys and values by hand.

The real runs use eager attention in float32, which allocates the same on every kind of device.
"""

import copy
import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from advisor.dryrun.generation import Inference, inference_peaks
from advisor.dryrun.step import run_step
from advisor.dryrun.workload import Workload
from advisor.errors import InputError
from advisor.modeling.base import AUTO_CLASSES
from advisor.modeling.quiet import quiet_libraries
from tests.dryrun.tiny_workloads import HEAD_SIZE, HEADS, KV_HEADS, VOCAB, Family, workload_of

pytestmark = pytest.mark.slow

LAYERS = 2
TARGET = 10


class Peak(TorchDispatchMode):
    """Most bytes of storages alive at once that operators have made."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.alive = self.highest = 0
        held = (*model.parameters(), *model.buffers())
        self._seen: dict[int, Any] = {tensor.untyped_storage().data_ptr(): None for tensor in held}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._watch(tensor.untyped_storage())
        return out

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, nbytes = storage.data_ptr(), storage.nbytes()
        if nbytes and key not in self._seen:
            self.alive += nbytes
            self.highest = max(self.highest, self.alive)
            self._seen[key] = weakref.finalize(storage, self._died, key, nbytes)

    def _died(self, key: int, nbytes: int) -> None:
        del self._seen[key]
        self.alive -= nbytes


def asked_for(family: Family, **options: Any) -> Workload:
    return workload_of(family, "full", **{"attention": "eager", "precision": "fp32", **options})


def real(asked: Workload, inference: Inference) -> tuple[int, int]:
    """Peak beyond the weights of a real run, and the tokens that its cache holds in the end."""
    torch.manual_seed(0)
    config = copy.deepcopy(asked.source.config)
    config.use_cache = inference.new_tokens > 0
    with quiet_libraries():
        model = AUTO_CLASSES[asked.head].from_config(config, attn_implementation="eager").eval()
    shape = (inference.batch_size, inference.seq_length)
    batch = {"input_ids": torch.randint(3, VOCAB, shape), "attention_mask": torch.ones(shape, dtype=torch.long)}
    batch["attention_mask"][-1, :4] = 0
    peak, tokens = Peak(model), 0
    with quiet_libraries(), torch.no_grad(), peak:
        if inference.new_tokens:
            count = {"max_new_tokens": inference.new_tokens, "min_new_tokens": inference.new_tokens}
            out = model.generate(**batch, **count, do_sample=False, return_dict_in_generate=True, pad_token_id=0)
            tokens = int(out.past_key_values.get_seq_length())
        else:
            labels = torch.randint(3, VOCAB, (inference.batch_size, asked.target_length or inference.seq_length))
            if asked.head == "sequence-classification":
                labels = torch.zeros(inference.batch_size, dtype=torch.long)
            out = model(**batch, labels=labels)
    return peak.highest, tokens


def dry(asked: Workload, inference: Inference) -> int:
    """Peak beyond the weights of a dry run."""
    trace = run_step(asked, with_costs=False)
    weights = sum(block.nbytes for block in trace.blocks if block.category == "weights")
    return inference_peaks(asked, inference).requested_bytes - weights


@pytest.mark.parametrize("family", ["llama", "roberta", "t5"])
def test_evaluation_by_loss_takes_what_it_takes_for_real(family):
    asked, inference = asked_for(family, target_length=TARGET if family == "t5" else 0), Inference(
        batch_size=3, seq_length=24
    )  # fmt: skip
    # The batch itself is counted in the dry run alone: ids, mask and labels.
    batch_bytes = 8 * 3 * (24 + 24 + {"llama": 24, "roberta": 1, "t5": TARGET}[family])
    found = dry(asked, inference) - batch_bytes
    assert found == pytest.approx(real(asked, inference)[0], rel=0.01)


@pytest.mark.parametrize(("batch", "length", "new_tokens"), [(3, 24, 1), (2, 100, 3), (8, 10, 60)])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_generation_takes_what_it_takes_for_real(family, batch, length, new_tokens):
    asked, inference = asked_for(family), Inference(batch_size=batch, seq_length=length, new_tokens=new_tokens)
    found, (expected, tokens) = dry(asked, inference), real(asked, inference)
    assert tokens == (length if family == "llama" else 1) + new_tokens - 1
    # The loop around the model: copies of the last token's logits, and ids, masks and positions of all tokens so far.
    around = batch * (2 * VOCAB * 4 + 8 * (length + new_tokens) * 8)
    batch_bytes = 2 * 8 * batch * length
    assert -around <= found - expected <= batch_bytes


def cache_bytes(batch: int, tokens: int) -> int:
    """Keys and values of every layer in 16 bits."""
    return 2 * LAYERS * KV_HEADS * HEAD_SIZE * tokens * batch * 2


def test_the_cache_is_that_counted_by_hand():
    peaks = {
        new_tokens: inference_peaks(workload_of("llama"), Inference(batch_size=4, seq_length=8, new_tokens=new_tokens))
        for new_tokens in (1000, 2000)
    }
    grown = peaks[2000].requested_bytes - peaks[1000].requested_bytes
    # The whole cache, and while the last layer's is extended its keys a second time.
    extended = cache_bytes(4, 1000) / LAYERS / 2
    # And a mask: of 8 bytes for each token, and of one byte for those that may be looked at, written out in 16 bits.
    assert cache_bytes(4, 1000) <= grown <= cache_bytes(4, 1000) + 2 * extended + 4 * 1000 * (8 + 1 + 1 + 2)
    assert peaks[1000].requested_bytes > cache_bytes(4, 8 + 999)


def test_an_encoder_decoder_keeps_keys_and_values_of_source_and_target():
    asked = workload_of("t5")
    peaks = [
        inference_peaks(asked, Inference(batch_size=4, seq_length=8, new_tokens=new_tokens)).requested_bytes
        for new_tokens in (1000, 2000)
    ]
    # Here every head has keys and values of its own.
    assert peaks[1] - peaks[0] >= 2 * LAYERS * HEADS * HEAD_SIZE * 1000 * 4 * 2


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_more_tokens_longer_prompts_and_larger_batches_never_need_less(family):
    asked = workload_of(family)

    def peak(**changes: int) -> int:
        return inference_peaks(
            asked, Inference(**{"batch_size": 2, "seq_length": 16, "new_tokens": 8, **changes})
        ).requested_bytes

    for name, values in (("new_tokens", (1, 2, 500)), ("seq_length", (1, 200)), ("batch_size", (1, 9))):
        found = [peak(**{name: value}) for value in values]
        assert found == sorted(found)
        assert found[-1] > found[0]


def test_evaluation_needs_less_than_training():
    asked = workload_of("llama", "full", precision="fp32")
    trained = run_step(asked, with_costs=False)
    weights = sum(block.nbytes for block in trained.blocks if block.category == "weights")
    state = sum(block.nbytes for block in trained.blocks if block.category == "optimizer")
    evaluated = inference_peaks(asked, Inference(batch_size=asked.batch_size, seq_length=asked.seq_length))
    assert weights < evaluated.requested_bytes < weights + state
    assert evaluated.requested_bytes <= evaluated.allocated_bytes <= evaluated.reserved_bytes


@pytest.mark.parametrize("options", [{"quantization": "4bit"}, {"autocast": True}, {"attention": "flash"}])
def test_other_storage_and_arithmetic_generate_too(options):
    inference = Inference(batch_size=2, seq_length=16, new_tokens=100)
    assert inference_peaks(workload_of("llama", **options), inference).requested_bytes > cache_bytes(2, 115)


def test_a_classifier_does_not_generate():
    with pytest.raises(InputError, match="a classifier does not generate; leave out --new-tokens"):
        inference_peaks(workload_of("roberta"), Inference(batch_size=1, seq_length=8, new_tokens=1))
