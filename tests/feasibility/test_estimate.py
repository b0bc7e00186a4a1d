"""The record of an estimate: its parts are all there and add up."""

from dataclasses import fields

from advisor.feasibility.estimate import PARTS, Estimate
from advisor.records import from_plain, to_plain

GIB = 2**30
SIZES = {
    "weights_bytes": 100, "adapter_bytes": 20, "gradients_bytes": 3, "optimizer_bytes": 40, "activations_bytes": 500,
    "logits_bytes": 600, "workspace_bytes": 7, "fragmentation_bytes": 80, "context_bytes": 9000,
}  # fmt: skip


def estimate() -> Estimate:
    return Estimate(
        peak_memory_bytes=10350, peak_reserved_bytes=1350, peak_allocated_bytes=1270, basis="test", trainable_params=5,
        **SIZES,
    )  # fmt: skip


def test_every_part_has_a_name_and_they_add_up_to_the_peak():
    sizes = {field.name for field in fields(Estimate) if field.name.endswith("_bytes")}
    assert {field for _, field in PARTS} == {name for name in sizes if not name.startswith("peak_")}
    assert estimate().breakdown == {
        "weights": 100, "adapter": 20, "gradients": 3, "optimizer": 40, "activations": 500, "logits and loss": 600,
        "workspace": 7, "fragmentation": 80, "context": 9000,
    }  # fmt: skip
    assert sum(estimate().breakdown.values()) == estimate().peak_memory_bytes


def test_reserved_memory_is_all_but_the_context_and_allocated_memory_all_but_fragmentation():
    one = estimate()
    assert one.peak_memory_bytes - one.context_bytes == one.peak_reserved_bytes
    assert one.peak_reserved_bytes - one.fragmentation_bytes == one.peak_allocated_bytes


def test_a_gib_is_two_to_the_thirtieth():
    one = Estimate(
        peak_memory_bytes=3 * GIB // 2, peak_reserved_bytes=0, peak_allocated_bytes=0, basis="test", trainable_params=0,
        **dict.fromkeys(SIZES, 0),
    )  # fmt: skip
    assert one.peak_memory_gib == 1.5


def test_an_estimate_is_the_same_when_read_back():
    assert from_plain(Estimate, to_plain(estimate())) == estimate()
