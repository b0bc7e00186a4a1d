"""Studies of adapters on trained ones, and of fusions: from the folders that are named to the adapter that is saved."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from advisor import records
from advisor.demo.base_models import base_model_path
from advisor.errors import DataError, InputError
from advisor.recommendation import recommend
from advisor.result import TuningResult
from advisor.search import read_records
from advisor.search.distributions import parameters_of
from advisor.spec import Budget, CodeTask
from advisor.tuning import TuningRequest, prepare
from advisor.tuning.composition import composition_of
from advisor.tuning.prediction import predict
from advisor.tuning.starting_point import find_starting_point
from tests.adapter_folders import write_adapter
from tests.cli.test_cli import run
from tests.trained_adapters import train_adapter
from tests.tuning.test_study_run import write_pairs

BASE = str(base_model_path("encoder-only"))
MODEL, OTHER = "microsoft/codebert-base", "microsoft/unixcoder-base"


def request(**fields: object) -> TuningRequest:
    here = Path("x.jsonl")
    return TuningRequest(**{"train": here, "valid": here, "test": here, "task": "clone-detection", **fields})


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    """Two adapters of one base model that go together."""
    made = {"placement": "houlsby", "cross_adapter": False}
    return write_adapter(tmp_path / "java", MODEL, **made), write_adapter(tmp_path / "go", MODEL, seed=1, **made)


def test_without_trained_adapters_nothing_is_composed():
    assert composition_of(request(base_model=MODEL)) is None
    assert find_starting_point(request(base_model=MODEL)).recommended.adapters == ()


@pytest.mark.parametrize(("option", "method"), [("on_adapters", "adapter-stack"), ("fuse", "adapter-fusion")])
def test_every_candidate_is_made_of_the_named_adapters_and_has_their_placement(parts, option, method):
    start = find_starting_point(request(base_model=MODEL, **{option: parts}))
    assert [part.method for part in start.space.methods] == [method]
    assert start.recommended == start.recommendation.candidates[0].candidate
    for candidate in start.warm_starts:
        assert (candidate.base_model, candidate.method) == (MODEL, method)
        assert [one.name for one in candidate.adapters] == ["java", "go"]
        assert candidate.hyperparameters["placement"] == "houlsby"
        parameters_of(candidate, start.space)


def test_without_a_base_model_it_is_that_of_the_adapters(parts, tmp_path):
    write_adapter(tmp_path / "unixcoder", OTHER)
    assert find_starting_point(request(on_adapters=parts)).recommended.base_model == MODEL
    other = find_starting_point(request(on_adapters=(tmp_path / "unixcoder",)))
    assert other.recommended.base_model == OTHER


def test_of_a_recommendation_the_lines_on_the_adapters_base_model_count(parts):
    lines = [
        recommend(CodeTask(task="clone-detection", budget=Budget(), base_model=name, method="adapter-stack"))
        for name in (OTHER, MODEL)
    ]
    both = replace(lines[0], candidates=(*lines[0].candidates[:1], *lines[1].candidates[:1]))
    start = find_starting_point(request(task=None, recommendation=both, on_adapters=parts))
    assert [(one.rank, one.base_model) for one in start.recommendation.candidates] == [(1, MODEL)]
    with pytest.raises(InputError, match=f"trained on '{MODEL}', and the study is on '{OTHER}'"):
        find_starting_point(request(task=None, recommendation=lines[0], on_adapters=parts))


def test_a_folder_without_an_adapter_is_refused_before_anything_is_recommended(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        composition_of(request(fuse=(tmp_path / "a", tmp_path / "b")))
    with pytest.raises(DataError, match="is a 'LORA' adapter"):
        composition_of(request(on_adapters=(write_adapter(tmp_path / "lora", MODEL, peft_type="LORA"),)))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Data, the study of a bottleneck adapter on the base model that is included, and another such adapter."""
    folder = tmp_path_factory.mktemp("inputs")
    for split, n in (("train", 32), ("valid", 12), ("test", 16)):
        write_pairs(folder / f"{split}.jsonl", n)
    first = study(folder, folder / "java", base_model=BASE, methods=("adapter-pfeiffer",), n_trials=1)
    assert prepare(first).finish().reload_check.passed
    train_adapter(Path(BASE), "encoder-only", folder / "go", seed=1)
    return folder


def study(inputs: Path, output: Path, **changes: object) -> TuningRequest:
    fields = {
        **{split: inputs / f"{split}.jsonl" for split in ("train", "valid", "test")},
        "n_trials": 2, "max_steps": 4, "final_seeds": 1, "output": output, "device": "cpu", "pack": 1,
        "full_baseline": False, **changes,
    }  # fmt: skip
    return request(**fields)


def assert_made_of(adapter: Path, parts: list[Path]) -> None:
    """The saved adapter holds the weights of its parts, unchanged by training."""
    saved = load_file(adapter / "adapter_model.safetensors")
    for number, part in enumerate(parts):
        trained = load_file(part / "adapter_model.safetensors")
        below = {name: value for name, value in trained.items() if "bottleneck" in name}
        mine = {name: value for name, value in saved.items() if f".bottleneck_trained.{number}." in name}
        assert len(mine) == len(below) > 0
        for name, value in mine.items():
            place, part_of = name.split(f".bottleneck_trained.{number}.")
            assert torch.equal(value, below[f"{place}.bottleneck_{part_of}"])


@pytest.mark.slow
def test_a_study_on_a_trained_adapter_runs_resumes_and_needs_the_folder_no_more_when_it_is_done(inputs, tmp_path):
    part = tmp_path / "java"
    shutil.copytree(inputs / "java" / "best_adapter", part / "best_adapter")
    before = (part / "best_adapter" / "adapter_model.safetensors").read_bytes()
    asked = study(inputs, tmp_path / "run", on_adapters=(part,), n_trials=1)
    assert prepare(asked).finish().reload_check.passed
    result = prepare(replace(asked, n_trials=2)).finish()
    trials = read_records(tmp_path / "run" / "trials.jsonl")
    assert [trial.number for trial in trials] == [0, 1]
    assert result.n_trials_finished == 2
    assert {trial.state for trial in trials} <= {"complete", "pruned"}
    assert {trial.candidate.method for trial in trials} == {"adapter-stack"}
    assert all([one.name for one in trial.candidate.adapters] == ["java"] for trial in trials)
    assert (part / "best_adapter" / "adapter_model.safetensors").read_bytes() == before
    assert_made_of(tmp_path / "run" / "best_adapter", [part / "best_adapter"])
    card = (tmp_path / "run" / "best_adapter" / "README.md").read_text()
    assert "It stands, from below, on adapters that were trained before: java (SHA-256 " in card
    assert "import advisor.modeling.tuners" in card
    assert str(tmp_path) not in card

    with pytest.raises(InputError, match=r"trained adapters: .*java/best_adapter then, none now"):
        prepare(study(inputs, tmp_path / "run", base_model=BASE, methods=("adapter-pfeiffer",)))
    train_adapter(Path(BASE), "encoder-only", part / "best_adapter", seed=5)
    with pytest.raises(InputError, match="the content of the trained adapters differs"):
        prepare(asked)
    shutil.rmtree(part)
    rows = [{"code1": "def a(): pass", "code2": "clone"}]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = tmp_path / "answers.jsonl"
    assert len(predict(tmp_path / "run", input=tmp_path / "new.jsonl", output=answers, device="cpu")) == 1


@pytest.mark.slow
def test_trained_adapters_are_fused_in_packs_by_one_command(inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = [part for split in ("train", "valid", "test") for part in (f"--{split}", str(inputs / f"{split}.jsonl"))]
    parts = ("--fuse", str(inputs / "java"), "--fuse", str(inputs / "go"))
    short = ("--trials", "3", "--max-steps", "4", "--final-seeds", "1", "--pack", "2", "--device", "cpu")
    code, out, err = run(
        capsys, "tune", "--task", "clone-detection", *files, *parts, *short, "--no-full-baseline", "--json"
    )
    assert code == 0, err
    assert json.loads(out)
    folder = tmp_path / "studies" / "clone-detection-encoder-adapter-fusion"
    result = records.read(TuningResult, folder / "result.json")
    assert result.packing is not None
    assert result.packing.size == 2
    assert result.reload_check.passed
    trials = read_records(folder / "trials.jsonl")
    assert len(trials) == 3
    assert all(trial.state != "failed" for trial in trials)
    assert_made_of(folder / "best_adapter", [inputs / "java" / "best_adapter", inputs / "go"])
    card = (folder / "best_adapter" / "README.md").read_text()
    assert "It fuses adapters that were trained before: java (SHA-256 " in card
    config = json.loads((folder / "best_adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["adapters"]) == ("ADAPTER_FUSION", ["java", "go"])
