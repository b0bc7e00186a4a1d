"""`peft-advisor estimate` as a command, on folders that hold nothing but the config.json of a tiny model."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_cli import run
from tests.model_folders import CONFIGS, adapter_file, config_folder

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
KEYS = {
    "peak_allocated_bytes", "peak_reserved_bytes", "peak_memory_bytes", "breakdown", "step_time_s",
    "tokens_per_s",
    "fits", "margin_bytes", "model", "method", "notes",
}  # fmt: skip


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> Path:
    """The working directory holds a folder for each tiny model, and some files that are none or wrong."""
    monkeypatch.chdir(tmp_path)
    for name in CONFIGS:
        config_folder(tmp_path, name)
    (tmp_path / "empty").mkdir()
    for name, text in {
        "no-json": "{bad", "a-list": "[1]", "no-type": '{"model_type": "nosuch"}',
        "own-code": '{"model_type": "mine", "auto_map": {"AutoConfig": "configuration_x.X"}}',
        "no-layers": json.dumps({**CONFIGS["llama"], "num_hidden_layers": 0}),
    }.items():  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    files = {
        "broken.json": "{", "no-method.json": '{"r": 8}', "unknown.json": '{"peft_type": "XLORB"}',
        "classifier.json": '{"peft_type": "LORA", "task_type": "SEQ_CLS", "target_modules": ["q_proj"]}',
        "tokens.json": '{"peft_type": "LORA", "task_type": "TOKEN_CLS", "target_modules": ["q_proj"]}',
        "no-module.json": '{"peft_type": "LORA", "task_type": "CAUSAL_LM", "target_modules": ["nothing"]}',
        "rank-abc.json": '{"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": "abc"}',
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def estimate(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    return run(capsys, "estimate", *shlex.split(line))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "--model"),
        ("--model nosuch", "unknown base model 'nosuch'"),
        ("--model ''", "--model: is empty"),
        ("--model ./nowhere", "is not a model folder"),
        ("--model empty", "config.json': not found"),
        ("--model no-json", "not valid JSON"),
        ("--model a-list", "which is one JSON object"),
        ("--model no-type", "no usable config.json"),
        ("--model own-code", "no usable config.json"),
        ("--model no-layers", "PEFT cannot put this adapter on the model"),
        ("--model llama/config.json", "give a folder with a config.json"),
        ("--model llama extra", "unexpected extra argument"),
        ("--model llama --method nosuch", "unknown method 'nosuch'"),
        ("--model llama --method adapter", "there are three"),
        ("--model llama --gpu Voodoo", "unknown GPU 'Voodoo'"),
        ("--model llama --gpu 'RTX 4091'", "unknown GPU 'RTX 4091'; nearest: "),
        ("--model llama --set foo", "give NAME=VALUE"),
        ("--model llama --set r=1 --set r=2", "given twice"),
        ("--model llama --set foo=1", "lora has no hyperparameter 'foo'"),
        ("--model llama --set rank=8", "lora has no hyperparameter 'rank'; nearest: r\n"),
        ("--model llama --set lora_alhpa=1", "nearest: lora_alpha"),
        ("--model llama --set r=-3", "must be from 1 to"),
        ("--model llama --set r=abc", "must be a whole number"),
        ("--model llama --set r=1e9", "must be a whole number"),
        ("--model llama --set r=nan", "must be a whole number"),
        ("--model llama --set lora_dropout=2", "between 0 and 1"),
        ("--model llama --set target_modules=nothing", "nothing not found"),
        ("--model llama --set learning_rate=abc", "must be a number"),
        ("--model llama --method ia3 --set r=8", "ia3 has no hyperparameter 'r'"),
        ("--model llama --batch-size 0", "--batch-size"),
        ("--model llama --batch-size x", "--batch-size"),
        ("--model llama --seq-len -5", "--seq-len"),
        ("--model llama --target-len 5", "--target-len"),
        ("--model t5 --target-len 0", "--target-len"),
        ("--model llama --evaluate -1", "--evaluate"),
        ("--model llama --new-tokens -1", "--new-tokens"),
        ("--model llama --labels 0", "--labels"),
        ("--model llama --head seq2seq-lm", "have no seq2seq-lm head"),
        ("--model llama --optimizer lion", "--optimizer"),
        ("--model roberta --seq-len 129", "at most 128 tokens"),
        ("--model gpt2 --new-tokens 100 --seq-len 100", "at most 28 tokens"),
        ("--model roberta --new-tokens 5", "a classifier does not generate"),
        ("--model llama --adapter-config nowhere.json", "no such file"),
        ("--model llama --adapter-config empty", "no such file"),
        ("--model llama --adapter-config broken.json", "is not readable as JSON"),
        ("--model llama --adapter-config no-method.json", "has no peft_type"),
        ("--model llama --adapter-config unknown.json", "unknown PEFT method 'XLORB'"),
        ("--model llama --adapter-config tokens.json", "TOKEN_CLS is not one of"),
        ("--model llama --adapter-config classifier.json --head causal-lm", "is an adapter for SEQ_CLS"),
        ("--model llama --adapter-config no-module.json", "not found in the base model"),
        ("--model llama --adapter-config rank-abc.json", "must be a whole number"),
        ("--model llama --adapter-config classifier.json --set r=2", "exclude each other"),
        ("--model llama --adapter-config classifier.json --method ia3", "exclude each other"),
        ("--model llama --method full --quantization 4bit", "full fine-tuning cannot change"),
        ("--model llama --method qlora --quantization 8bit", "qlora means 4bit"),
        ("--model llama --method prefix-tuning --gradient-checkpointing", "gradient checkpointing"),
        ("--model llama --max batch-size", "--max needs --gpu or --vram"),
        ("--model llama --max rank --vram 8 --method ia3", "ia3 has no rank"),
        ("--model llama --max width --vram 8", "--max"),
        ("--model llama --vram 0", "not a size of device memory"),
        ("--model llama --vram 24GB", "--vram"),
        ("--model llama --gpu T4 --precision bf16", "has no bfloat16"),
        ("--model llama --gpu T4 --attention flash", "has no flash attention"),
        ("--model llama --gpu T4 --examples 0", "--examples"),
        ("--model llama --examples 1000", "--examples needs --gpu"),
        ("--model llama --gpu T4 --price-per-hour 1", "--price-per-hour needs --examples"),
        ("--model llama --gpu T4 --examples 10 --price-per-hour -1", "is not a price"),
        ("--model 'll\x1b[31mama'", "\\x1b[31m"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, line, said):
    code, out, err = estimate(capsys, line)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert said in err


def test_a_search_in_which_nothing_fits_ends_with_exit_code_3_and_the_closest_that_does(capsys):
    code, out, err = estimate(capsys, "--model llama --max batch-size --vram 0.3 --json")
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert "not even batch-size 1 fits: it takes 0.5 GiB of 0.3 GiB usable" in err
    assert "GPU such as the" in err


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("options", ["", "--method ia3 --evaluate 2", "--set r=2 --quantization 4bit --autocast"])
def test_a_folder_with_only_a_config_is_enough_and_nothing_else_is_written(capfd, name, options):
    code, out, err = run(capfd, "estimate", "--model", name, "--seq-len", "32", *options.split())
    assert (code, err) == (0, "")
    assert out.startswith(f"{name}, ")
    assert "Name a GPU (--gpu) or its memory (--vram) to learn whether it fits." in out
    assert out.isascii()


def test_json_is_one_object_with_bytes_and_seconds(capfd):
    code, out, err = run(capfd, "estimate", "--model", "llama", "--gpu", "RTX 4090", "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert set(shown) >= KEYS
    assert sum(shown["breakdown"].values()) == shown["peak_memory_bytes"]
    assert shown["peak_allocated_bytes"] <= shown["peak_reserved_bytes"] <= shown["peak_memory_bytes"]
    assert shown["fits"] is True
    assert shown["margin_bytes"] == shown["usable_bytes"] - shown["peak_memory_bytes"]
    assert shown["tokens_per_s"] == pytest.approx(shown["tokens_per_step"] / shown["step_time_s"])
    assert (shown["model"], shown["method"], shown["peft_type"]) == ("llama", "lora", "LORA")


def test_json_of_a_file_has_peft_s_type_and_no_method(capsys, folders):
    adapter_file(folders, peft_type="BOFT", task_type="CAUSAL_LM", boft_block_size=4, target_modules=["q_proj"])
    code, out, _ = estimate(capsys, "--model llama --adapter-config adapter_config.json --json")
    assert code == 0
    assert (json.loads(out)["method"], json.loads(out)["peft_type"]) == (None, "BOFT")


def test_the_largest_batch_is_said_and_fits(capsys):
    code, out, _ = estimate(capsys, "--model llama --max batch-size --vram 0.7 --seq-len 64 --json")
    assert code == 0
    shown = json.loads(out)
    assert shown["searched"] == "batch-size"
    assert shown["largest"] == shown["batch_size"] > 1
    assert shown["fits"] is True
    code, out, _ = estimate(capsys, f"--model llama --vram 0.7 --seq-len 64 --batch-size {shown['largest'] + 1} --json")
    assert json.loads(out)["fits"] is False


def test_memory_is_told_where_time_is_not_known(capsys):
    code, out, err = estimate(capsys, "--model llama --gpu 'M4 Max'")
    assert (code, err) == (0, "")
    assert "Fits: " in out
    assert "time cannot be estimated" in out
    code, out, _ = estimate(capsys, "--model llama --gpu 'M4 Max' --examples 100 --json")
    assert json.loads(out)["step_time_s"] is None


def test_what_does_not_fit_is_said_plainly_with_a_way_out(capsys):
    code, out, _ = estimate(capsys, "--model llama --vram 0.4 --batch-size 8")
    assert code == 0
    assert "Does not fit: " in out
    assert out.splitlines()[-1].startswith(("Try ", "Hardly enough", "  "))


def test_the_same_command_prints_the_same_bytes(capsys):
    line = "--model t5 --method lora --gpu A100 --examples 1000 --price-per-hour 2"
    assert estimate(capsys, line) == estimate(capsys, line)


def test_the_readme_shows_what_the_command_prints(capsys):
    command, output = re.search(
        r"```sh\npeft-advisor (estimate [^\n]*)\n```\n\n```text\n(.*?)```",
        README.read_text(encoding="utf-8"),
        re.DOTALL,
    ).groups()
    code, out, err = run(capsys, *shlex.split(command))
    assert (code, err) == (0, "")
    assert out == output


@pytest.mark.parametrize(
    "line", ["--model nosuch", "--model codebert-base --set r", "--model codebert-base --gpu Voodoo", "--help"]
)
def test_what_needs_no_torch_loads_none(line):
    code = (
        "import sys\nfrom advisor.cli import main\n"
        f"try: main(['estimate', *{shlex.split(line)!r}])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.slow
def test_a_fresh_process_prints_one_json_object_and_holds_no_weights():
    code = (
        "import resource, sys\nfrom advisor.cli import main\n"
        "main(['estimate', '--model', 'Qwen/Qwen2.5-Coder-7B', '--json'])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout)["total_params"] > 7e9
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stderr) * unit < 1.5 * 2**30  # the weights would take 14
