"""`peft-advisor export`."""

import json

import pytest
import yaml

from advisor.cli.export import command
from advisor.exports import MERGED, TARGETS
from tests.cli.test_cli import run
from tests.exports.plans import plan
from tests.models import save_tiny_base_model
from tests.report import fixtures


@pytest.fixture
def advice(tmp_path):
    """A file with a recommendation for a decoder of the catalogue."""
    made = fixtures.recommendation(plan().candidate)
    path = tmp_path / "recommendation.json"
    fixtures.write_lines(path, [type(made)(task="code-summarization", budget=made.budget, candidates=made.candidates)])
    return path


def test_the_file_is_printed(capsys, advice):
    code, out, err = run(capsys, "export", str(advice), "--to", "axolotl")
    assert (code, err) == (0, "")
    assert yaml.safe_load(out)["base_model"] == "Qwen/Qwen2.5-Coder-7B"


def test_it_is_written_to_a_file_or_into_a_folder_under_its_own_name(capsys, advice, tmp_path):
    code, out, _ = run(capsys, "export", str(advice), "--to", "trl", "--output", str(tmp_path / "mine.py"))
    assert (code, out) == (0, f"{tmp_path / 'mine.py'}\n")
    code, out, _ = run(capsys, "export", str(advice), "--to", "trl", "--output", str(tmp_path))
    assert (code, out) == (0, f"{tmp_path / 'train_with_trl.py'}\n")
    assert (tmp_path / "mine.py").read_bytes() == (tmp_path / "train_with_trl.py").read_bytes()


def test_what_needs_several_files_goes_into_a_folder(capsys, advice, tmp_path):
    code, out, err = run(capsys, "export", str(advice), "--to", "llama-factory")
    assert (code, out) == (2, "")
    assert err == "error: LLaMA-Factory needs 2 files (llama-factory.yaml, dataset_info.json): give --output FOLDER\n"
    folder = tmp_path / "new"
    code, out, _ = run(capsys, "export", str(advice), "--to", "llama-factory", "--output", str(folder))
    assert code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["dataset_info.json", "llama-factory.yaml"]
    assert out.splitlines() == [str(folder / "llama-factory.yaml"), str(folder / "dataset_info.json")]


def test_files_that_are_there_are_kept(capsys, advice, tmp_path):
    (tmp_path / "train_with_trl.py").write_text("mine")
    code, _, err = run(capsys, "export", str(advice), "--to", "trl", "--output", str(tmp_path))
    assert code == 2
    assert "exists already" in err
    assert err.count("\n") == 1
    assert (tmp_path / "train_with_trl.py").read_text() == "mine"


def test_a_run_folder_is_exported_with_its_best_trial(capsys, tmp_path):
    code, out, _ = run(capsys, "export", str(fixtures.write_run(tmp_path / "run")), "--to", "peft")
    assert code == 0
    assert "LABELS = ['clone', 'no clone']" in out


def test_what_a_target_does_not_have_is_one_line_with_those_that_have_it(capsys, tmp_path):
    code, out, err = run(capsys, "export", str(fixtures.write_run(tmp_path / "run")), "--to", "axolotl")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "targets that can: peft, transformers" in err


@pytest.mark.parametrize("arguments", [("--to", "axlotl"), ("--to", "trl", "--rank", "9"), ("--rank", "1")])
def test_mistakes_are_one_line(capsys, advice, arguments):
    code, out, err = run(capsys, "export", str(advice), *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_a_place_that_is_no_record_is_one_line(capsys, tmp_path):
    for place in (tmp_path / "missing.json", tmp_path):
        code, out, err = run(capsys, "export", str(place), "--to", "trl")
        assert (code, out, err.count("\n")) == (2, "", 1)


def test_the_help_names_every_target():
    metavar = next(option.metavar for option in command.params if option.name == "name")
    assert metavar == f"[{'|'.join((*TARGETS, MERGED))}]"


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_run_full_of_hostile_text_is_exported_as_text_or_refused_in_one_line(capsys, tmp_path, name):
    folder = fixtures.write_run(tmp_path / "run", fixtures.hostile_run())
    code, out, err = run(capsys, "export", str(folder), "--to", name)
    if code == 0:
        assert err == ""
        compile(out, name, "exec")
        out.encode("ascii")
    else:
        assert (code, out, err.count("\n")) == (2, "", 1)


def lora(tmp_path):
    """An adapter as users of PEFT save it, on a tiny decoder."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = save_tiny_base_model("decoder-only", tmp_path / "base")
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(str(tmp_path / "adapter"))
    return tmp_path / "adapter"


def test_merged_weights_are_written_into_a_folder_and_named_file_by_file(capsys, tmp_path):
    folder, out_folder = lora(tmp_path), tmp_path / "merged"
    capsys.readouterr()
    code, out, err = run(capsys, "export", str(folder), "--to", "merged", "--output", str(out_folder))
    assert (code, err) == (0, "Loading PyTorch and the base model ...\n")
    assert sorted(out.splitlines()) == sorted(map(str, out_folder.iterdir()))
    assert str(out_folder / "model.safetensors") in out
    code, out, err = run(capsys, "export", str(folder), "--to", "merged", "--output", str(out_folder))
    assert (code, out, err) == (2, "", f"error: --output {out_folder}: exists already; name another, or remove it\n")


def test_merged_weights_are_told_as_json(capsys, tmp_path):
    folder = lora(tmp_path)
    capsys.readouterr()
    words = ("export", str(folder), "--to", "merged", "--output", str(tmp_path / "m"), "--dtype", "bf16", "--json")
    code, out, _ = run(capsys, *words)
    assert code == 0
    said = json.loads(out)
    assert (said["to"], said["merged"]["dtype"]) == ("merged", "bf16")
    assert {"name": "config.json", "path": str(tmp_path / "m" / "config.json")} in said["files"]
    assert 0 <= said["merged"]["distance"] <= said["merged"]["tolerance"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "merged"), "give the folder of a finished `tune` or of an adapter"),
        (("--to", "trl", "--dtype", "bf16"), "--dtype: is for --to merged"),
        (("--to", "mergd"), "merged"),
    ],
)
def test_mistakes_around_merging_are_one_line(capsys, advice, words, said):
    code, out, err = run(capsys, "export", str(advice), *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_folder_without_anything_trained_or_without_a_place_to_go_is_one_line(capsys, tmp_path):
    for words in (("--output", str(tmp_path / "m")), (), ("--rank", "1", "--output", str(tmp_path / "m"))):
        code, out, err = run(capsys, "export", str(tmp_path), "--to", "merged", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "m").exists()
