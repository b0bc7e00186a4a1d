"""`peft-advisor recommend` as a command."""

import json
import subprocess
import sys

import pytest

from advisor import records
from advisor.recommendation import Recommendation, recommend
from advisor.spec import Budget, CodeTask
from tests.cli.test_cli import run
from tests.model_folders import config_folder

HEAVY = ("datasets", "numpy", "optuna", "pandas", "peft", "plotly", "rich", "sklearn", "torch", "transformers")


def test_json_is_exactly_the_record_of_the_library(capsys):
    code, out, err = run(capsys, "recommend", "--task", "clone-detection", "--vram", "24", "--json")
    found = recommend(CodeTask(task="clone-detection", budget=Budget(vram_gib=24)))
    assert (code, err) == (0, "")
    assert json.loads(out) == records.to_plain(found)


def test_the_record_is_written_beside_the_text(capsys, tmp_path):
    path = tmp_path / "recommendation.json"
    code, out, _ = run(capsys, "recommend", "--task", "code-summarization", "--vram", "16", "--output", str(path))
    assert code == 0
    assert records.read(Recommendation, path).task == "code-summarization"
    assert f"peft-advisor tune {path}" in out


def test_the_same_command_prints_the_same_bytes(capsys):
    args = ("recommend", "--task", "program-repair", "--gpu", "A100", "--prefer", "speed")
    assert run(capsys, *args) == run(capsys, *args)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--task", "clone-detection"], 2, "--vram or --gpu is needed"),
        (["--vram", "24"], 2, "--task"),
        (["--task", "clone", "--vram", "24"], 2, "clone-detection"),
        (["--task", "bake a cake", "--vram", "24"], 2, "unknown task 'bake a cake'"),
        (["--task", "clone-detection", "--vram", "24", "--map", "code1=a"], 2, "--data, which is missing"),
        (["--task", "clone-detection", "--vram", "24", "--data", "gone.jsonl"], 2, "cannot be read"),
        (["--task", "clone-detection", "--vram", "24", "--data", "a.parquet"], 2, "can be looked at only as"),
        (["--task", "clone-detection", "--vram", "24", "--hub-config", "gone"], 2, "not a folder"),
        (["--task", "clone-detection", "--vram", "24", "--hub-config", ".", "--model", "x"], 2, "exclude each other"),
        (["--task", "clone-detection", "--vram", "24GB"], 2, "--vram"),
        (["--task", "clone-detection", "--vram", "-4"], 2, "not a size of device memory"),
        (["--task", "clone-detection", "--vram", "nan"], 2, "not a size of device memory"),
        (["--task", "clone-detection", "--vram", "24", "--top", "0"], 2, "--top"),
        (["--task", "clone-detection", "--vram", "24", "--prefer", "beauty"], 2, "--prefer"),
        (["--task", "clone-detection", "--gpu", "Voodoo 2"], 2, "unknown GPU"),
        (["--task", "clone-detection", "--vram", "24", "--method", "adapter"], 2, "there are three"),
        (["--task", "clone-detection", "--vram", "24", "--model", "./nowhere"], 2, "not a model folder"),
        (["--task", "code-generation", "--vram", "0.2"], 3, "the closest is"),
        (["--task", "clone-detection", "--vram", "24", "--output", "/nowhere/at/all.json"], 2, "cannot be written"),
        (["--task", "clone\x1b[31m-detection", "--vram", "24"], 2, "\\x1b[31m"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(capsys, args, code, said):
    got, out, err = run(capsys, "recommend", *args)
    assert (got, out) == (code, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert said in err


def test_a_local_folder_is_a_base_model(capsys, tmp_path):
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = {"model_type": "roberta", "vocab_size": 100, "max_position_embeddings": 130, **sizes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    code, out, _ = run(capsys, "recommend", "--task", "clone-detection", "--vram", "4", "--model", str(tmp_path))
    assert code == 0
    assert f"LoRA on {tmp_path}" in out
    assert "128 tokens" in out


def test_a_config_without_weights_is_a_base_model(capsys, tmp_path):
    folder = config_folder(tmp_path, "roberta")
    code, out, _ = run(capsys, "recommend", "--task", "clone-detection", "--vram", "4", "--hub-config", str(folder))
    assert code == 0
    assert f"on {folder}" in out


def test_a_description_gives_what_its_task_gives(capsys):
    args = ("--vram", "24", "--top", "1")
    _, by_name, err = run(capsys, "recommend", "--task", "clone-detection", *args)
    assert err == ""
    _, by_words, err = run(capsys, "recommend", "--task", "detect duplicated functions in Java", *args)
    assert by_words == by_name
    assert err == "task taken: clone-detection (words that decided: duplicated, functions)\n"


def test_data_is_looked_at_and_what_it_is_like_is_said(capsys, tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"a": "x" * 27, "func2": "y" * 27, "label": i % 2}) + "\n" for i in range(40)))
    asked = ("recommend", "--task", "clone-detection", "--vram", "24", "--data", str(path), "--map", "code1=a")
    code, out, _ = run(capsys, *asked)
    assert code == 0
    said = " ".join(out.split())
    assert f"Data: {path}: 40 rows, sources of about 20 tokens (19 of 20 up to 20), 2 classes seen" in said
    assert "32 tokens" in said  # the next multiple of 32 that holds them


@pytest.mark.parametrize(
    "command", [["recommend", "--task", "code-generation", "--vram", "24"], ["evidence", "--tasks"]]
)
def test_answering_imports_nothing_heavy(command):
    code = (
        "import sys; from advisor.cli import main\n"
        f"main({command!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.strip() == "[]"


def test_explain_prints_the_rows_behind_the_first_candidate(capsys):
    code, out, _ = run(capsys, "recommend", "--task", "program-repair", "--vram", "24", "--explain")
    assert code == 0
    assert "what speaks against it" in out
    assert "https://" in out
    assert "silva2023repairllama" in out


def test_explain_and_json_exclude_each_other(capsys):
    code, _, err = run(capsys, "recommend", "--task", "program-repair", "--vram", "24", "--explain", "--json")
    assert code == 2
    assert "--explain prints text" in err


def test_a_time_budget_needs_the_rows_and_the_gpu(capsys, tmp_path):
    code, _, err = run(capsys, "recommend", "--task", "clone-detection", "--vram", "24", "--time", "1h")
    assert code == 2
    assert "--gpu and the rows to train on (--data FILE)" in err
    path = tmp_path / "train.jsonl"
    row = json.dumps({"code1": "int a;", "code2": "int b;", "label": 1})
    path.write_text(f"{row}\n" * 2000)
    asked = ("recommend", "--task", "clone-detection", "--gpu", "RTX 4090", "--data", str(path), "--json")
    code, out, _ = run(capsys, *asked, "--time", "10m")
    assert code == 0
    assert all(line["training_time_s"] <= 600 for line in json.loads(out)["candidates"])


def test_the_forecast_of_exactly_the_candidate_asked_for_is_in_the_record(capsys):
    asked = ("recommend", "--task", "code-generation", "--vram", "24", "--json")
    code, out, _ = run(capsys, *asked, "--model", "Qwen/Qwen2.5-Coder-1.5B", "--method", "prompt-tuning")
    assert code == 0
    (line,) = json.loads(out)["candidates"]
    assert line["forecast"]["relative_to"] == "full"
    assert line["forecast"]["low"] < line["forecast"]["mean"] < line["forecast"]["high"]
    assert {"zero-shot", "icl", "full"} == {rival["kind"] for rival in line["rivals"]}
    assert all(isinstance(rival["better"], bool) for rival in line["rivals"])


@pytest.mark.parametrize(("asked", "expected"), [("none", {None}), ("4bit", {"4bit"}), ("8bit", {"8bit"})])
def test_only_the_storage_that_is_asked_for_is_recommended(capsys, asked, expected):
    _, out, _ = run(capsys, "recommend", "--task", "program-repair", "--vram", "24", "--quantization", asked, "--json")
    assert {line["quantization"] for line in json.loads(out)["candidates"]} == expected


@pytest.mark.parametrize("command", ["recommend --task clone-detection", "estimate --model microsoft/codebert-base"])
@pytest.mark.parametrize(("said", "number"), [("24GB", "24"), ("24 GiB", "24"), ("11.5g", "11.5"), ("much", "24")])
def test_memory_with_a_unit_is_told_the_number_to_give(capsys, command, said, number):
    code, out, err = run(capsys, *command.split(), "--vram", said)
    assert (code, out) == (2, "")
    reason = f"'{said}' is not a number of GiB; give it without a unit, such as --vram {number}"
    assert err == f"error: Invalid value for '--vram': {reason}\n"
