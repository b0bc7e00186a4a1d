"""The comparison of dry runs with measured steps: right before the first measurement is there."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import RobertaConfig, RobertaForSequenceClassification

from advisor.catalog.gpus import find_gpu
from advisor.dryrun.operators import OperatorCost
from advisor.dryrun.step import StepTrace, run_step
from advisor.errors import InputError
from advisor.feasibility.step_time import CONSTANTS, StepTime
from advisor.modeling.meta import ModelSource
from advisor.modeling.quiet import quiet_libraries
from studies.gpu.entries.step_accuracy import Loop, host_batch
from studies.gpu.entry import Slot
from studies.step_accuracy import compare
from studies.step_accuracy.cases import CASES, Case
from studies.step_accuracy.dry_runs import DryRun, workload_of
from studies.step_accuracy.fit import fitted_constants, fitted_workspace_bytes
from studies.step_accuracy.models import build_model
from tests.dryrun.test_against_cpu import Recorder, changes_of, peak

H200 = find_gpu("NVIDIA H200")
BY_NAME = {case.name: case for case in CASES}


@dataclass(frozen=True)
class FakeDryRun:
    """Estimates written by hand; a workspace adds to what is allocated."""

    values: Mapping[str, float]

    def as_shipped(self) -> dict[str, float]:
        return dict(self.values)

    def with_(self, workspace_bytes: int, constants: Any) -> dict[str, float]:
        return {**self.values, "allocated_bytes": self.values["allocated_bytes"] + workspace_bytes}

    def time(self, constants: Any) -> StepTime:
        return StepTime(step_time_s=self.values["step_s"], device_s=self.values["kernel_s"], host_s=0.0)


def write_result(folder: Path, part: str, measured: Mapping[str, Any], kind: str = "cuda") -> None:
    folder.mkdir(exist_ok=True)
    record = {"part": part, "machine": {"gpu": "NVIDIA H200", "versions": {"torch": "2.11.0"}}, "measured": measured}
    (folder / f"step_accuracy.{part}.{kind}.json").write_text(json.dumps(record))


def measured(case: Case, **values: float) -> dict[str, Any]:
    return {"case": case.name, "workload": case.description(), **values}


def test_without_measurements_it_says_so_and_leaves_no_result(tmp_path, capsys):
    write_result(tmp_path / "in", "codebert-lora", measured(BY_NAME["codebert-lora"], step_s=1.0), kind="smoke")
    assert compare.main(["--results", str(tmp_path / "in"), "--output", str(tmp_path / "out.json")]) == 0
    assert "no measurements yet" in capsys.readouterr().out
    assert not (tmp_path / "out.json").exists()


def test_errors_and_their_summary_are_those_worked_out_by_hand(tmp_path):
    names = ("codebert-lora", "qwen0.5b-lora", "codet5-lora")
    for name, allocated in zip(names, (100.0, 200.0, 400.0), strict=True):
        write_result(tmp_path, name, measured(BY_NAME[name], peak_allocated_bytes=allocated, step_s=2.0))
    estimates = dict(zip(names, (110.0, 190.0, 404.0), strict=True))  # +10 %, -5 %, +1 %
    result = compare.compare(
        compare.read_measurements(tmp_path),
        lambda case, gpu: FakeDryRun({"allocated_bytes": estimates[case.name], "step_s": 1.5}),
    )
    rows = {row["case"]: row for row in result["rows"]}
    assert rows["codebert-lora"]["error_percent"] == pytest.approx({"allocated_bytes": 10.0, "step_s": -25.0})
    errors = result["summary"]["training"]["allocated_bytes"]
    expected = {"mean": 16 / 3, "median": 5.0, "largest": 10.0, "signed": 2.0, "lowest": -5.0, "cases": 3}
    assert errors == pytest.approx(expected)
    assert result["fit"] is None  # too few cases for two halves
    assert set(rows["codebert-lora"]["measured"]) == set(compare.QUANTITIES)


def test_what_was_not_run_or_is_refused_is_named_with_its_reason(tmp_path, capsys):
    write_result(tmp_path, "a", {"case": "a", "not_run": "bitsandbytes absent"})
    write_result(tmp_path, "codebert-lora", measured(BY_NAME["codebert-lora"], peak_allocated_bytes=1.0))

    def refuse(case: Case, gpu: Any) -> DryRun:
        raise InputError("no such head")

    found = compare.read_measurements(tmp_path)
    result = compare.compare(found, refuse)
    assert found.not_run == {"a": "bitsandbytes absent"}
    assert result["refused"] == {"codebert-lora": "no such head"}
    assert result["rows"] == []


def test_the_half_of_a_case_follows_from_the_first_byte_of_its_name_s_sha256():
    # By sha256sum the digests begin with 82, f2, 1a and bf.
    halves = {
        name: compare.Measurement(case=BY_NAME[name], gpu=H200, values={}).in_first_half
        for name in ("codebert-lora", "qwen0.5b-lora", "codet5-lora", "codebert-full")
    }
    assert halves == {"codebert-lora": True, "qwen0.5b-lora": True, "codet5-lora": True, "codebert-full": False}
    first = sum(compare.Measurement(case=case, gpu=H200, values={}).in_first_half for case in CASES)
    assert 0.35 < first / len(CASES) < 0.65


def test_constants_are_fitted_on_one_half_and_judged_on_the_other(tmp_path):
    for number, case in enumerate(case for case in CASES if case.mode == "training"):
        nbytes = 1e9 * (1 + number)
        write_result(tmp_path, case.name, measured(case, peak_allocated_bytes=nbytes + 64e6, step_s=1.0, kernel_s=1.0))
    sizes = {case.name: 1e9 * (1 + number) for number, case in enumerate(c for c in CASES if c.mode == "training")}
    result = compare.compare(
        compare.read_measurements(tmp_path),
        lambda case, gpu: FakeDryRun({"allocated_bytes": sizes[case.name], "step_s": 1.0, "kernel_s": 1.0}),
    )
    fit = result["fit"]
    assert fit["workspace_bytes"] == 64_000_000
    assert fit["second_half_as_shipped"]["allocated_bytes"]["mean"] > 0.1
    assert fit["second_half_fitted"]["allocated_bytes"]["largest"] == pytest.approx(0.0, abs=1e-9)
    judged = {row["case"] for row in result["rows"] if row["half"] == "second"}
    assert judged
    assert not judged & set(fit["fitted_on"])


def trace_of(matmuls: int, pointwise: int) -> StepTrace:
    """A step of large products and of operators that only move bytes, forward and backward, and an update."""
    product = OperatorCost("mm", 2 * 4096**3, "bf16", 2 * 4096**2 * 2, 4096**2 * 2, 1)
    move = OperatorCost("add", 0, "bf16", 10**8, 10**8, 1)
    tiny = OperatorCost("add", 0, "bf16", 64, 64, 1)
    costs = [(phase, one) for phase in ("forward", "backward")
             for one in [product] * matmuls + [move] * pointwise + [tiny] * 10]  # fmt: skip
    costs += [("optimizer", tiny)] * 5
    return StepTrace(
        blocks=(), resident=0, events=(), step_begins=0, forward_ends=0, step_ends=0, costs=tuple(costs),
        trainable_params=0, total_params=0,
    )  # fmt: skip


def test_fitted_constants_are_those_that_the_times_were_made_with():
    truth = replace(CONSTANTS, half_efficiency=0.5, bandwidth_efficiency=0.6)
    dry_runs = [
        DryRun(workload=workload_of(BY_NAME["qwen0.5b-lora"], H200), gpu=H200, trace=trace_of(matmuls, pointwise))
        for matmuls, pointwise in ((100, 0), (0, 100), (50, 10), (10, 50), (200, 20), (20, 200))
    ]
    samples = []
    for dry in dry_runs:
        spent = dry.time(truth)
        samples.append((dry, {"kernel_s": spent.device_s, "step_s": spent.step_time_s}))
    fitted = fitted_constants(samples)
    assert fitted.half_efficiency == pytest.approx(0.5, rel=0.03)
    assert fitted.bandwidth_efficiency == pytest.approx(0.6, rel=0.03)
    assert fitted.fp32_efficiency == CONSTANTS.fp32_efficiency  # no case speaks of it


def test_the_workspace_is_the_median_of_what_is_allocated_beyond_the_dry_run():
    samples = [
        (FakeDryRun({"allocated_bytes": 1000.0}), {"allocated_bytes": 1000.0 + beyond}) for beyond in (10, 70, 30)
    ]
    assert fitted_workspace_bytes(samples) == 30
    assert fitted_workspace_bytes([(FakeDryRun({"allocated_bytes": 9.0}), {"allocated_bytes": 5.0})]) == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_comes_back_from_its_description_and_is_one_that_the_dry_run_takes(case):
    description = json.loads(json.dumps(case.description()))
    assert replace(Case.of(description), minutes=case.minutes) == case
    workload = workload_of(case, H200)
    assert (workload.batch_size, workload.seq_length) == (case.batch_size, case.seq_length)
    assert (workload.peft_config is None) == (case.adapter is None)


def test_the_cases_cover_what_they_are_there_for():
    assert len({case.name for case in CASES}) == len(CASES)
    methods = {(case.adapter or {"peft_type": "full"})["peft_type"] for case in CASES}
    assert methods >= {"LORA", "IA3", "PREFIX_TUNING", "PROMPT_TUNING", "BEFT", "full"}
    assert {case.seq_length for case in CASES} >= {128, 512, 2048}
    assert {case.quantization for case in CASES} == {None, "4bit", "8bit"}
    assert {case.attention for case in CASES} == {"sdpa", "eager", "flash"}
    assert {case.mode for case in CASES} == {"training", "evaluation", "generation"}
    assert sum(case.minutes for case in CASES) < 25


def test_a_measured_batch_is_padded_and_the_padding_has_no_labels():
    case = BY_NAME["qwen0.5b-lora"]

    class Model:
        class config:
            vocab_size = 50

    batch = host_batch(Model, case)
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    assert lengths == [512] * 7 + [384]
    assert torch.equal(batch["labels"] == -100, batch["attention_mask"] == 0)
    assert "attention_mask" not in host_batch(Model, BY_NAME["qwen1.5b-lora-unpadded"])


@pytest.mark.parametrize("holds_outputs", [True, False])
def test_the_measured_loop_is_the_one_that_the_dry_run_takes_it_for(tmp_path, holds_outputs):
    case = replace(
        BY_NAME["qwen0.5b-lora-eager"].tiny(), adapter=BY_NAME["deepseek1.3b-lora-qv"].adapter, precision="fp32",
        optimizer="adamw-fused", holds_outputs=holds_outputs,
    )  # fmt: skip
    slot = Slot(device="cpu", smoke=True, deadline=time.monotonic() + 60, work=tmp_path, results=tmp_path)
    with quiet_libraries():
        model = build_model(case, slot)
    loop = Loop(model, case, "cpu")
    with Recorder(model) as recorder:
        loop.step()
    source = ModelSource(name="tiny", config=model.config, architecture="decoder-only")
    trace = run_step(replace(workload_of(case, H200), source=source), with_costs=False)
    dry = changes_of(trace, trace.events[trace.step_begins : trace.step_ends])
    inputs = 3 * case.batch_size * case.seq_length * torch.int64.itemsize  # on a CPU the batch needs no copy
    assert peak(dry) - inputs == peak(recorder.changes)


@pytest.mark.slow
def test_a_real_case_is_dry_run_beside_its_measurement(tmp_path):
    case = BY_NAME["codebert-lora-fp32-tiny-batch"]
    write_result(
        tmp_path, case.name, measured(case, allocated_before_bytes=5e8, peak_allocated_bytes=1.4e9, step_s=0.1)
    )
    output = tmp_path / "out" / "result.json"
    assert compare.main(["--results", str(tmp_path), "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    (row,) = result["rows"]
    with torch.device("meta"):
        config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, num_labels=2)
        model = RobertaForSequenceClassification(config)
    base = sum(one.nbytes for one in (*model.parameters(), *model.buffers()))
    head = sum(one.nbytes for one in model.classifier.parameters())
    # r = 16 on query, key, value, output (768 to 768), and both halves of the feed-forward part (768 and 3072).
    adapters = 12 * 16 * (4 * (768 + 768) + 2 * (768 + 3072)) * 4
    assert row["estimated"]["resident_bytes"] == base + head + adapters  # PEFT keeps a copy of the head to train
    assert row["measured"]["step_s"] == 0.1
    assert row["estimated"]["step_s"] > 0
    assert result["measured_on"][0]["gpu"] == "NVIDIA H200"
