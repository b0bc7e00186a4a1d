"""Every command of README and docs is run, in the order of the page, and what cheap ones print is what the page shows.

Nobody can wait hours for a test, and there is no network: `as_run` has all that differs between the page and the test.
The models are tiny, the data a dozen rows; the rest of a command is left as it stands.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.cli import main
from tests.docs.pages import ROOT, Block, says, shell_blocks
from tests.models import save_tiny_base_model
from tests.report import fixtures

README, TUNING = ROOT / "README.md", ROOT / "docs" / "tuning.md"
OTHERS = tuple(ROOT / "docs" / f"{name}.md" for name in ("recommendations", "estimates", "faq"))
# What installs the package or runs its tests, not this tool; `export` sets a variable for what follows.
NOT_OURS = {"pip", "pytest", "export"}
# `tune` loads models: tiny ones instead. `recommend` and `estimate` know those of the pages without loading them.
LOADED = {"Salesforce/codet5p-220m": "bases/encoder-decoder", "Salesforce/codet5-small": "bases/another"}
# Folders that the reader has.
PLACES = {"./my-model": "bases/encoder", "studies/my-study": "finished"}
# The last of an option counts, so these make any study short.
SHORT = (
    "--trials",
    "1",
    "--max-steps",
    "2",
    "--final-seeds",
    "1",
    "--no-full-baseline",
    "--pack",
    "off",
    "--device",
    "cpu",
)
DEMO_EXAMPLES = {"train": 24, "valid": 12, "test": 12}
N_ROWS = 12
COMPARED = ("recommend", "estimate")


def as_run(words: list[str]) -> list[str]:
    """Return the arguments of a command of a page as this test runs it."""
    command, *arguments = (PLACES.get(word, word) for word in words[1:])
    if command == "tune":
        arguments = [LOADED.get(word, word) for word in arguments]
        if "recommendation.json" in arguments:  # it names a model of the hub
            arguments += ["--model", "bases/encoder"]
        arguments += SHORT
    elif command == "predict":
        arguments += ["--device", "cpu"]
    return [command, *arguments]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with what the pages take for granted: data files, a base model, a finished study."""
    from advisor.tuning import demonstration

    monkeypatch.chdir(tmp_path)
    for split in ("train", "valid", "test", "new"):
        rows = [row_of(split, number) for number in range(N_ROWS)]
        Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = [
        f'"def {name}(): return {number}",{number % 2}' for number, name in enumerate("abcdefghijklmnopqrstuvwxyz")
    ]
    Path("functions.csv").write_text("\n".join(["func,bug", *table, ""]))
    for name in ("encoder", "encoder-decoder", "another"):
        save_tiny_base_model("encoder-only" if name == "encoder" else "encoder-decoder", Path("bases") / name)
    fixtures.write_run(tmp_path / "finished")
    sizes = {task: replace(size, n_examples=DEMO_EXAMPLES) for task, size in demonstration.SIZES.items()}
    monkeypatch.setattr(demonstration, "SIZES", sizes)
    monkeypatch.setenv("COLUMNS", "88")
    return tmp_path


def row_of(split: str, number: int) -> dict[str, object]:
    """Return a row that has the fields of every task on the pages."""
    code = f"def {split}_{number}(a):\n    return a + {number}"
    return {
        "code1": code, "code2": code.replace("a + ", f"{number % 3} + "), "code": code, "label": number % 2,
        "source": code, "target": f"Add {number} to a number, {split}.",
    }  # fmt: skip


def run(arguments: list[str]) -> tuple[int, str, str]:
    """Run a command in this process and return its exit code, stdout and stderr."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def problems(*pages: Path) -> Iterator[str]:
    """Run all commands of pages, equal ones once, and yield what went otherwise than the pages say."""
    done: set[tuple[str, ...]] = set()
    for block in shell_blocks(*pages):
        for words in block.commands():
            if words[0] in NOT_OURS or tuple(words) in done:
                continue
            done.add(tuple(words))
            code, out, err = run(as_run(words))
            if code != 0:
                yield f"{block.place}: {' '.join(words)}: exit code {code}\n{err[-2000:]}"
            elif block.answer is not None:
                yield from differences(block, words[1], out)


def differences(block: Block, command: str, printed: str) -> Iterator[str]:
    """Yield where a page shows something else than a command printed; of what depends on data, the form counts."""
    shown = block.answer or ""
    if command in COMPARED:
        if not says(shown, printed):
            yield f"{block.place}: the page shows other text than\n{printed}"
    elif command == "predict":
        if [list(json.loads(line)) for line in shown.splitlines()] != [
            list(json.loads(x)) for x in printed.splitlines()
        ]:
            yield f"{block.place}: the page shows other fields than\n{printed}"
    else:
        kept = shown.partition("[...]\n")[2].splitlines()
        missing = [line for line in kept if formless(line) not in map(formless, printed.splitlines())]
        if missing or not kept:
            yield f"{block.place}: not printed: {missing}"


def formless(line: str) -> str:
    """Return a line with all numbers made equal."""
    return re.sub(r"\d+(?:\.\d+)?", "0", line)


def test_the_recommendation_of_the_readme_is_what_recommend_says():
    (block,) = [one for one in shell_blocks(README) if one.answer and one.commands()[0][1] == "recommend"]
    code, out, _ = run(as_run(block.commands()[0]))
    assert code == 0
    assert says(block.answer or "", out), f"{block.place}: the page shows other text than\n{out}"


@pytest.mark.slow
def test_all_commands_of_the_readme_and_of_the_page_on_tuning_run(workplace):
    assert list(problems(README, TUNING)) == []
    assert Path("studies/clones/best_adapter/adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_all_commands_of_the_other_pages_run(workplace):
    assert list(problems(*OTHERS)) == []


def test_every_page_is_run_somewhere():
    # In a copy of the project: `test_extending`; with a database: `tests/examples/test_clusters_page`.
    own = {ROOT / "docs" / "extending.md", ROOT / "docs" / "clusters.md"}
    assert {README, TUNING, *OTHERS, *own} == {README, *ROOT.glob("docs/*.md")}
