"""A saved adapter gives the same predictions in a process that knows PEFT but not this package."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from advisor.errors import DataError, ReloadCheckError
from advisor.training import reload
from advisor.training.predictions import read_predictions
from advisor.training.reload import SCRIPT, reload_check
from tests.training.conftest import FinishedTrial
from tests.training.toy import CLONES, COMMENTS, SUPPORTED, TASKS

pytestmark = pytest.mark.slow  # together more than the fast part can take


@pytest.mark.slow
def test_every_kind_of_adapter_predicts_the_same_in_a_fresh_process(
    finished: Callable[..., FinishedTrial], tmp_path: Path
) -> None:
    jobs = {}
    for kind in SUPPORTED:
        done = finished(kind)
        job = tmp_path / "-".join(kind) / "job.json"
        job.parent.mkdir()
        attached = done.runner.attach_saved(done.candidate, done.adapter, seed=0)
        reload._write_job(job, done.runner, TASKS[kind[1]], done.candidate, done.adapter, attached, "valid")
        done.runner.data.give_back(attached)
        jobs[kind] = job
    # One process for all of them: starting one takes longer than all the predictions.
    command = [sys.executable, "-P", "-W", "ignore", str(SCRIPT), *map(str, jobs.values())]
    subprocess.run(command, check=True, capture_output=True)
    different = []
    for kind, job in jobs.items():
        names = finished(kind).runner.data.label_names
        found = reload._read_output(job.with_name("output.jsonl"))
        there = [reload._answer(item["predicted"], names) for item in found]
        here = [item.predicted for item in read_predictions(finished(kind).valid_predictions)]
        assert len(here) == 6
        if here != there:
            different.append(kind)
    assert not different


KIND = ("lora", "clone-detection", "encoder-decoder")  # the head that PEFT does not know by name


def test_the_check_passes_for_what_training_saw(finished: Callable[..., FinishedTrial]) -> None:
    done = finished(KIND)
    expected = done.valid.metrics
    check = reload_check(done.runner, CLONES, done.candidate, done.adapter, expected=expected, split="valid")
    assert check.passed
    assert (check.metric, check.expected, check.reloaded) == ("f1", expected["f1"], expected["f1"])


def test_the_check_passes_for_sets_of_labels(finished: Callable[..., FinishedTrial], tmp_path: Path) -> None:
    done = finished(("full", "code-comment-classification", "encoder-only"))
    shutil.copytree(done.adapter, tmp_path / "adapter")
    weights = tmp_path / "adapter" / "model.safetensors"
    values = load_file(weights)
    values["classifier.out_proj.bias"] = torch.tensor([-9.0, 9.0])  # says "summary" of every row and nothing else
    save_file(values, weights, metadata={"format": "pt"})
    expected = done.runner.evaluate(done.candidate, tmp_path / "adapter", "valid", seed=0).metrics
    check = reload_check(done.runner, COMMENTS, done.candidate, tmp_path / "adapter", expected=expected, split="valid")
    assert check.passed
    # Half of the six rows are summaries (F1 2/3), two of them have the other label (F1 0).
    assert (check.metric, check.reloaded) == ("macro-f1", pytest.approx(1 / 3))


def test_the_check_decides_by_the_threshold_that_the_result_was_measured_with(
    finished: Callable[..., FinishedTrial], tmp_path: Path
) -> None:
    done = finished(("full", "clone-detection", "encoder-only"))
    shutil.copytree(done.adapter, tmp_path / "adapter")
    weights = tmp_path / "adapter" / "model.safetensors"
    values = load_file(weights)
    values["classifier.out_proj.weight"] *= 40
    values["classifier.out_proj.bias"] = torch.tensor([9.0, -9.0])  # probabilities of nearly nothing
    save_file(values, weights, metadata={"format": "pt"})
    assert done.runner.evaluate(done.candidate, None, "test", seed=0).threshold is None  # nothing was fitted to labels
    found = done.runner.evaluate(done.candidate, tmp_path / "adapter", "test", seed=0)
    assert found.threshold is not None
    assert found.threshold < 0.2
    assert found.metrics["f1"] > 0
    for threshold in (found.threshold, None):
        check = reload_check(
            done.runner, CLONES, done.candidate, tmp_path / "adapter", expected=found.metrics, threshold=threshold
        )
        assert check.passed == (threshold is not None)


def test_the_check_fails_when_the_other_process_predicts_something_else(
    finished: Callable[..., FinishedTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_ones(job: Path, adapter: Path, loaders: str) -> None:
        lines = [json.dumps({"row": number, "predicted": 1}) for number in range(6)]
        job.with_name("output.jsonl").write_text("\n".join(lines))

    monkeypatch.setattr(reload, "_run", all_ones)
    done = finished(KIND)
    check = reload_check(done.runner, CLONES, done.candidate, done.adapter, expected={"f1": 0.5}, split="valid")
    assert not check.passed
    assert check.reloaded == pytest.approx(2 / 3)  # half of the labels are 1


def test_an_adapter_that_lost_its_head_is_refused(finished: Callable[..., FinishedTrial], tmp_path: Path) -> None:
    done = finished(("lora", "clone-detection", "encoder-only"))
    shutil.copytree(done.adapter, tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({name: value for name, value in load_file(weights).items() if "classifier" not in name}, weights)
    with pytest.raises(DataError, match="classifier"):
        reload_check(done.runner, CLONES, done.candidate, tmp_path / "adapter", expected={"f1": 0.5})


def test_a_process_that_fails_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise OSError('no such model')")
    monkeypatch.setattr(reload, "SCRIPT", script)
    with pytest.raises(ReloadCheckError, match="no such model") as caught:
        reload._run(tmp_path / "job.json", tmp_path, "PEFT alone")
    assert "\n" not in str(caught.value)
    assert "PEFT alone could not load it" in str(caught.value)


def test_the_script_imports_nothing_of_this_package_but_the_tuners_that_peft_lacks() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    plain = {"importlib", "json", "sys", "pathlib", "typing"}
    assert modules == plain | {"torch", "peft", "transformers", "safetensors"}
    named = re.findall(r"import_module\((.*?)\)", SCRIPT.read_text(encoding="utf-8"))
    assert named == ['"advisor.modeling.tuners"']
