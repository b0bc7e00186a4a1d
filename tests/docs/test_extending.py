"""The walk-throughs of docs/extending.md are carried out in a copy of the project, as somebody would who follows them.

A block "diff" is applied to the file that its first line names, a block "json" or "python" goes where the comment
before it says. Then the commands of section 1 are run, and after them those of the other sections in their order.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from advisor.evidence import validation
from tests.docs.pages import ROOT, Block, blocks, shell_blocks

PAGE = ROOT / "docs" / "extending.md"
# All tests, not only those that are run: they import from each other.
COPIED = ("advisor", "knowledge", "studies/__init__.py", "studies/evidence_model", "tests")
# All of these tests take half a minute; these are the ones that look at what the page adds.
PYTEST = ("tests/catalog/test_taxonomy.py", "tests/catalog/test_tasks.py", "tests/catalog/test_methods.py")
NEW_FILE, NEW_LINE = "new file ", "one line of "


def edits() -> list[Block]:
    """Return the blocks of the page that change a file."""
    return [one for one in blocks(PAGE) if one.language == "diff" or one.marker.startswith((NEW_FILE, NEW_LINE))]


def carry_out(block: Block, copy: Path) -> None:
    """Change a file of the copy as a block says."""
    if block.language == "diff":
        apply(block, copy)
        return
    verb = NEW_FILE if block.marker.startswith(NEW_FILE) else NEW_LINE
    path = copy / block.marker.removeprefix(verb)
    if verb == NEW_FILE:
        assert not path.exists(), block.place
        path.write_text(block.text, encoding="utf-8")
    else:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(json.loads(block.text)) + "\n")


def apply(block: Block, copy: Path) -> None:
    """Replace the lines of a block with " " and "-" by those with " " and "+"; they must stand together, once."""
    head, *lines = block.text.splitlines()
    path = copy / head.removeprefix("+++ ")
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "-"))
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "+"))
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{block.place}: {path.name} has these lines {text.count(old)} times:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def section_of(block: Block) -> int:
    """Return the number of the section that a block stands in."""
    before = PAGE.read_text(encoding="utf-8").splitlines()[: block.line]
    return int(re.findall(r"^## (\d+)", "\n".join(before), re.MULTILINE)[-1])


# Runs commands one after the other, since most of the time of a single one goes into imports; prints what each said.
DRIVER = """
import contextlib, io, json, runpy, sys
said = {}
for words in json.load(sys.stdin):
    out, code = io.StringIO(), 0
    sys.argv = ["peft-advisor", *words[1:]] if words[0] == "peft-advisor" else words[2:]
    module = "advisor" if words[0] == "peft-advisor" else words[2]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException as error:
            code = repr(error)
    said[" ".join(words[1:])] = code, out.getvalue()
print(json.dumps(said))
"""


def as_run(words: list[str]) -> list[str]:
    """Return the words of a command, `python -m ...` or `peft-advisor ...`, as this test runs it."""
    assert words[:2] == ["python", "-m"] or words[0] == "peft-advisor", words
    return [*words[:3], "-q", "-p", "no:cacheprovider", *PYTEST] if "pytest" in words else words


def run(copy: Path, commands: list[list[str]]) -> dict[str, str]:
    """Run commands in one process that imports the copy instead of the project; return what each printed.

    All must end with exit code 0.
    """
    done = in_copy(copy, DRIVER, json.dumps([as_run(words) for words in commands]))
    said = json.loads(done.splitlines()[-1])
    assert {words: text for words, (code, text) in said.items() if code != 0} == {}
    return {words: text for words, (_, text) in said.items()}


def in_copy(copy: Path, code: str, standard_input: str = "") -> str:
    """Run Python code in a process that imports the copy, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "COLUMNS": "88"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        env=environment,
        input=standard_input,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project with all edits of the page."""
    folder = tmp_path_factory.mktemp("copy")
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    rows = [{"code": f"def f{number}(a):\n    return a + {number}", "label": number % 2} for number in range(30)]
    (folder / "functions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for block in edits():
        carry_out(block, folder)
    return folder


def test_every_edit_applies_and_every_added_row_is_sound(copy):
    assert len(edits()) >= 15
    found = validation.problems(copy / "knowledge")
    # The validator of the project does not know the task that the copy has; no row of the page is of that task.
    assert found == []


def test_a_slip_in_the_example_is_the_line_that_the_page_shows(copy):
    (row,) = [json.loads(one.text) for one in edits() if one.marker.endswith("knowledge/evidence.jsonl")]
    said = re.search(r"\(`\"value\": 710`: `([^`]+)`\)", " ".join(PAGE.read_text(encoding="utf-8").split()))
    assert said is not None
    (problem,) = validation.check_evidence({**row, "value": 710.0}, {row["paper"]})
    number = len((copy / "knowledge" / "evidence.jsonl").read_text(encoding="utf-8").splitlines())
    assert said[1] == f"evidence: line {number} ({row['id']}): {problem}"


def test_the_size_of_the_added_base_model_is_what_transformers_builds():
    import torch
    from transformers import AutoConfig, AutoModel

    (row,) = [json.loads(one.text) for one in edits() if one.marker.endswith("knowledge/models.jsonl")]
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(row["transformers_model_type"], **row["config"]))
    assert sum(one.numel() for one in model.parameters()) == row["params"]


@pytest.mark.heavy  # three minutes on a busy machine, most of it derived files; edits and rows are checked every day
def test_every_command_runs_in_the_copy_and_shows_what_was_added(copy):
    shells = list(shell_blocks(PAGE))
    checks = [words for block in shells if section_of(block) == 1 for words in block.commands()]
    tests = [words for words in checks if "pytest" in words]
    assert [words[2] for words in tests] == ["pytest"]
    made = run(copy, [words for words in checks if words not in tests])
    assert made["-m advisor.evidence.validation"] == "the knowledge files are sound\n"
    later = [words for block in shells if section_of(block) > 1 for words in block.commands()]
    printed = run(copy, [*later, *tests])

    def of(beginning: str) -> str:
        (text,) = (text for words, text in printed.items() if words.startswith(beginning))
        return text

    assert " passed" in of("-m pytest")
    assert "one point above full fine-tuning" in of("evidence doe2026flaky-001")
    assert "doe2026flaky-001" in of("recommend --task flaky-test-classification")
    assert "1. LoRA on huggingface/CodeBERTa-small-v1" in of("recommend --task clone-detection --vram 8 --model")
    assert of("estimate --model huggingface/CodeBERTa-small-v1").startswith("huggingface/CodeBERTa-small-v1, LoRA")
    assert "task taken: code-readability" in of("recommend --task classify how readable")
    assert "1. LoRA, normal start on" in of("recommend --task clone-detection --vram 8 --method lora-gaussian")
    estimated = of("estimate --model microsoft/codebert-base --method lora-gaussian")
    assert estimated.startswith("microsoft/codebert-base, LoRA, normal start")
    script = (copy / "train_gaussian.py").read_text(encoding="utf-8")
    assert "LoraConfig(" in script
    assert "gaussian" in script
    assert json.loads((copy / "candidate.json").read_text(encoding="utf-8"))["method"] == "lora"


METRIC_CHECK = """
from advisor.metrics.labels import label_statistics, label_value
expected, predicted = ["a", "a", "a", "b"], ["a", "a", "b", "b"]
statistics = label_statistics("balanced-accuracy", expected, predicted, ("a", "b"))
print(label_value("balanced-accuracy", expected, predicted))
print(float(statistics.score(statistics.rows.sum(axis=0)[None])[0]))
"""


@pytest.mark.slow
def test_the_added_metric_is_the_mean_recall(copy):
    value, of_sums = map(float, in_copy(copy, METRIC_CHECK).split())
    assert value == pytest.approx((2 / 3 + 1) / 2)  # by hand: two of three, and one of one
    assert of_sums == pytest.approx(value)
