"""Closed forms against fresh dry runs at points that they were not made from."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from peft import PeftConfig, PrefixTuningConfig, PromptTuningConfig

from advisor.catalog.base_models import all_base_models, find_base_model
from advisor.catalog.files import knowledge_folder, read_lines
from advisor.catalog.methods import METHODS
from advisor.dryrun.adapters import adapter_of_method
from advisor.dryrun.depth import UnevenStackError
from advisor.dryrun.peaks import peaks_of
from advisor.dryrun.profile import Configuration, depths_of, overhead_of, profile_of, terms_of, workload_at
from advisor.dryrun.roofline import totals_of
from advisor.dryrun.step import StepTrace, run_step
from advisor.dryrun.workload import Workload
from advisor.feasibility.profiles import FILE_NAME, SIZE_OF, Point, StepProfile, size_at
from advisor.modeling.meta import read_model_source
from advisor.records import from_plain
from advisor.spec import Architecture
from tests.dryrun.tiny_workloads import Family, adapter_of, source_of, workload_of

pytestmark = pytest.mark.slow  # together more than the fast part can take

LONGEST = 256
LAYERS = 5
TOLERANCE = 0.01
Adapters = Callable[[int], PeftConfig | None]


def configuration(
    family: Family, method: str, adapter: Adapters, sizes: tuple[int, ...], **options: Any
) -> Configuration:
    """The step that profiles are made of: autocast, fused AdamW, outputs dropped."""
    in_full = options.pop("in_full", False)
    source = options.pop("source", None) or source_of(family, LAYERS)
    adapters = tuple(adapter(size) for size in sizes or (0,))
    settings = {"autocast": options.get("precision") != "fp32", "optimizer": "adamw-fused", "holds_outputs": False}
    workload = workload_of(family, source=source, peft_config=adapters[0], **settings, **options)
    return Configuration(
        workload=workload, method=method, sizes=sizes, adapters=adapters, max_length=LONGEST, in_full=in_full
    )


def lora(family: Family) -> Adapters:
    return lambda size: adapter_of(family, "lora", source_of(family).default_head, r=size)


RANKS = (4, 8, 16)
MADE: dict[str, tuple[Configuration, Adapters]] = {
    name: (configuration(family, method, adapter, sizes, **options), adapter)
    for name, (family, method, adapter, sizes, options) in {
        "llama, lora": ("llama", "lora", lora("llama"), RANKS, {}),
        "llama, lora in float32": ("llama", "lora", lora("llama"), RANKS, {"precision": "fp32"}),
        "llama, prompt tuning": (
            "llama", "prompt-tuning",
            lambda size: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=size), (4, 10, 20), {},
        ),
        "llama, prefix tuning": (
            "llama", "prefix-tuning",
            lambda size: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=size), (4, 10, 20),
            {"in_full": True, "source": source_of("llama", 2)},
        ),
        "roberta, full": ("roberta", "full", lambda _: None, (), {}),
        "llama, ia3 with checkpointing": (
            "llama", "ia3", lambda _: adapter_of("llama", "ia3", "causal-lm"), (), {"gradient_checkpointing": True}
        ),
        "t5, full": ("t5", "full", lambda _: None, (), {"source": source_of("t5", 4, decoder_layers=6)}),
        "t5, lora": ("t5", "lora", lora("t5"), RANKS, {"source": source_of("t5", 3, decoder_layers=4)}),
    }.items()
}  # fmt: skip


@pytest.fixture(scope="module")
def profile() -> Callable[[str], StepProfile]:
    """Profiles by name, each made once; the overhead is given, since it takes replays of its own."""
    made: dict[str, StepProfile] = {}

    def of(name: str) -> StepProfile:
        if name not in made:
            made[name] = profile_of(MADE[name][0], "tiny", overhead=0.1)
        return made[name]

    return of


def points(name: str, count: int, step: int = 1) -> list[Point]:
    """Batches from one, any length, any size, other than those that the profile was made at.

    In models this small the masks of an encoder-decoder are most of the memory, and they are padded to eight keys.
    """
    asked, draw = MADE[name][0], random.Random(name)
    has_target = asked.workload.head == "seq2seq-lm"
    step = 8 if has_target else step
    return [
        Point(
            batch_size=draw.choice((1, 2, 3, 7, 13)), source_tokens=draw.randrange(32, LONGEST + 1, step),
            target_tokens=draw.randrange(16, 129, step) if has_target else 0,
            size=draw.randint(min(asked.sizes), max(asked.sizes)) if asked.sizes else 0,
        )
        for _ in range(count)
    ]  # fmt: skip


def fresh(name: str, point: Point, **changes: Any) -> StepTrace:
    asked, adapter = MADE[name]
    return run_step(
        replace(
            asked.workload, peft_config=adapter(point.size), batch_size=point.batch_size,
            seq_length=point.source_tokens, target_length=point.target_tokens, **changes,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "t5, lora" else ()) for name in MADE]
)
def test_the_closed_form_is_within_one_per_cent_of_a_fresh_dry_run(name, profile):
    for point in points(name, 3):
        trace, found = fresh(name, point), profile(name).at(point)
        peaks = peaks_of(trace)
        assert found.requested_bytes == pytest.approx(peaks.requested_bytes, rel=TOLERANCE), point
        assert found.trainable_params == trace.trainable_params
        assert found.weights_bytes == peaks.breakdown["weights"]
        assert found.adapter_bytes == peaks.breakdown.get("adapter", 0)
        state = sum(block.nbytes for block in trace.blocks if block.category == "optimizer")
        assert found.optimizer_bytes == pytest.approx(state, rel=TOLERANCE)


def test_the_parts_of_the_peak_are_those_of_a_fresh_dry_run(profile):
    for point in points("llama, lora", 3):
        found, parts = profile("llama, lora").at(point), peaks_of(fresh("llama, lora", point)).breakdown
        assert found.logits_bytes == pytest.approx(parts["logits"], rel=TOLERANCE)
        kept = found.alive_bytes - found.logits_bytes - found.gradients_bytes - found.workspace_bytes
        assert kept == pytest.approx(parts["activations"] + parts["inputs"], rel=2 * TOLERANCE)


def test_work_is_that_of_a_fresh_dry_run_at_full_depth(profile):
    """In float32, where no product is so narrow that it counts as movement of memory."""
    name = "llama, lora in float32"
    for point in points(name, 3, step=8):
        expected = totals_of(fresh(name, point).costs)
        found = profile(name).at(point).totals
        assert found.keys() == expected.keys()
        for total in expected.keys() - {"update_launches"}:
            assert found[total] == pytest.approx(expected[total], rel=TOLERANCE), (total, point)
        # A kernel takes so many chunks of a list, which is no polynomial.
        assert abs(found["update_launches"] - expected["update_launches"]) <= 2


def test_waiting_gradients_are_added(profile):
    point = Point(batch_size=4, source_tokens=128, size=8)
    trace = fresh("llama, lora", point, accumulation=2)
    found = profile("llama, lora").at(point, accumulating=True)
    assert found.requested_bytes == pytest.approx(peaks_of(trace).requested_bytes, rel=TOLERANCE)
    assert found.gradients_bytes == found.adapter_bytes


def test_a_profile_says_what_it_is_about(profile):
    found = profile("t5, full")
    about = (found.base_model, found.head, found.method, found.precision, found.quantization)
    assert about == ("tiny", "seq2seq-lm", "full", "bf16", None)
    assert (found.gradient_checkpointing, found.overhead) == (False, 0.1)
    assert profile("llama, ia3 with checkpointing").gradient_checkpointing
    assert 1 <= len(found.moments) <= 12
    assert set(found.weights) == {"1"}
    assert set(profile("llama, lora").trainable) == {"p"}


def test_terms_are_those_that_the_model_and_the_method_can_have():
    for name, expected in {
        "roberta, full": {"1", "b", "bs", "bss"},
        "llama, lora": {"1", "b", "bs", "bss", "p", "bp", "bsp"},
        "llama, prompt tuning": {"1", "b", "bs", "bss", "p", "bp", "bsp", "bpp"},
        # Biases of relative positions, one for all examples: source, source and target, target.
        "t5, lora": {
            "1", "b", "bs", "bss", "bt", "bst", "btt", "ss", "st", "tt", "p", "bp", "bsp", "btp"
        },
    }.items():  # fmt: skip
        assert set(terms_of(MADE[name][0])) == expected


def test_the_overhead_is_the_largest_share_that_replays_show():
    asked = MADE["roberta, full"][0]
    shares = []
    for batch, length in ((2, 200), (6, LONGEST)):
        trace = run_step(replace(asked.workload, batch_size=batch, seq_length=length), with_costs=False)
        peaks, weights = peaks_of(trace), sum(one.nbytes for one in trace.blocks if one.category == "weights")
        shares.append((peaks.reserved_bytes - peaks.requested_bytes) / (peaks.requested_bytes - weights))
    assert overhead_of(asked) == pytest.approx(max(shares), abs=1e-4)


def test_a_workload_of_a_point_has_its_sizes():
    asked = MADE["t5, lora"][0]
    found = workload_at(asked, Point(batch_size=5, source_tokens=77, target_tokens=9, size=16))
    assert (found.batch_size, found.seq_length, found.target_length) == (5, 77, 9)
    assert found.peft_config.r == 16
    assert depths_of(found) == (3, 4)


def test_layers_that_cannot_be_told_from_the_rest_are_refused():
    # Only the last layer has an adapter, so the backward pass never comes to the others.
    def adapter(size: int) -> PeftConfig:
        config: Any = adapter_of("llama", "lora", "causal-lm", r=size)
        config.target_modules, config.layers_to_transform = ["q_proj"], [2]
        return config

    with pytest.raises(UnevenStackError):
        profile_of(configuration("llama", "lora", adapter, (4,)), "tiny", overhead=0.0)


def stored_profile(architecture: Architecture) -> StepProfile:
    """Draw a profile of some model of an architecture."""
    if not (knowledge_folder() / FILE_NAME).is_file():
        pytest.skip(f"knowledge/{FILE_NAME} is not there; studies/step_profiles makes it")
    models = {model.hf_id for model in all_base_models() if model.architecture == architecture}
    rows = [row for row in map(json.loads, read_lines(FILE_NAME)) if row["base_model"] in models]
    row = random.Random(architecture).choice(rows)
    return from_plain(StepProfile, {name: value for name, value in row.items() if name != "key"})


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["decoder-only", "encoder-only", "encoder-decoder"])
def test_a_stored_profile_is_within_one_per_cent_of_fresh_dry_runs(architecture):
    one, draw = stored_profile(architecture), random.Random(1)
    source, name = read_model_source(one.base_model), SIZE_OF.get(one.method)
    for _ in range(2):
        drawn = draw.choice((3, 8, 24)) if name == "reduction_factor" else draw.randint(10, 64)
        hyperparameters = {name: drawn} if name else {}
        adapter = adapter_of_method(source, one.head, METHODS[one.method], hyperparameters)
        size = size_at(one.method, hyperparameters, find_base_model(one.base_model).shape)
        point = Point(
            batch_size=draw.choice((1, 2, 5)), source_tokens=draw.randint(64, 500),
            target_tokens=draw.randint(32, 256) if one.head == "seq2seq-lm" else 0, size=size,
        )  # fmt: skip
        workload = Workload(
            source=source, head=one.head, peft_config=adapter, precision=one.precision, quantization=one.quantization,
            autocast=one.precision != "fp32", optimizer="adamw-fused", holds_outputs=False,
            gradient_checkpointing=one.gradient_checkpointing, batch_size=point.batch_size,
            seq_length=point.source_tokens, target_length=point.target_tokens,
        )  # fmt: skip
        trace, found = run_step(workload, with_costs=False), one.at(point)
        expected = peaks_of(trace).requested_bytes
        assert found.requested_bytes == pytest.approx(expected, rel=TOLERANCE), (one.base_model, one.method, point)
        assert found.trainable_params == trace.trainable_params
