"""What a workload refuses, and how many tokens it processes."""

import pytest

from advisor.dryrun.workload import Workload
from advisor.errors import InputError
from tests.dryrun.tiny_workloads import source_of, workload_of


def test_tokens_count_pack_accumulation_batch_source_and_target():
    asked = workload_of("t5", batch_size=2, seq_length=30, target_length=7, accumulation=3, pack_size=5)
    assert asked.tokens == 5 * 3 * 2 * 37


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch size: 0 is not between 1 and"),
        ({"batch_size": 100_001}, "batch size: 100001"),
        ({"seq_length": -3}, "sequence length: -3"),
        ({"seq_length": 10_000_001}, "sequence length: 10000001"),
        ({"accumulation": 0}, "accumulation: 0"),
        ({"pack_size": 1001}, "pack size: 1001 is not between 1 and 1000"),
        ({"n_labels": 0}, "number of labels: 0"),
        ({"target_length": -1}, "target length: -1"),
    ],
)
def test_sizes_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(InputError, match=message):
        workload_of("t5", **options)


def test_a_quantized_base_cannot_be_tuned_in_full():
    with pytest.raises(InputError, match="full fine-tuning cannot change a base model stored in 4bit"):
        workload_of("llama", "full", quantization="4bit")


def test_the_limits_themselves_are_allowed():
    asked = Workload(source=source_of("llama"), head="causal-lm", peft_config=None, batch_size=100_000, pack_size=1000)
    assert asked.tokens == 100_000 * 1000 * 512
