"""The commands of docs/clusters.md are run, those with `--storage` on a real PostgreSQL server.

A comment before a block says what it needs that a test machine lacks: "needs Ray", "needs SLURM", and so on. That
these parse is for `tests.docs.test_pages` to say, that they do what they say for the tests of Ray and of the examples.
"""

import re

import pytest

from tests.docs.pages import ROOT, Block, blocks, shell_blocks
from tests.docs.test_commands import as_run, run
from tests.docs.test_commands import workplace as workplace_of_pages
from tests.examples.files import EXAMPLES
from tests.postgres import new_database, server

PAGE = ROOT / "docs" / "clusters.md"
README = EXAMPLES / "README.md"
HERE, DATABASE = "", "needs PostgreSQL"
ELSEWHERE = {"starts Ray", "needs Ray", "makes a database", "needs SLURM", "needs Kubernetes", "asks the hub"}
PLACEHOLDER = "postgresql+psycopg://advisor@database.example.org/advisor"
NOT_OURS = {"pip", "export"}

workplace = workplace_of_pages  # a fixture


def commands(marker: str) -> list[tuple[Block, list[str]]]:
    """Return the commands of this program that stand under a marker, in their order."""
    return [
        (block, words)
        for block in shell_blocks(PAGE)
        if block.marker == marker
        for words in block.commands()
        if words[0] not in NOT_OURS
    ]


def carried_out(marker: str, url: str = PLACEHOLDER) -> None:
    """Run the commands under a marker with tiny data and models."""
    for block, words in commands(marker):
        replaced = {PLACEHOLDER: url, "microsoft/unixcoder-base": "bases/encoder"}
        code, _, errors = run(as_run([replaced.get(word, word) for word in words]))
        assert code == 0, f"{block.place}: {' '.join(words)}: exit code {code}\n{errors[-2000:]}"


def test_every_block_is_run_or_says_why_not():
    assert {block.marker for block in shell_blocks(PAGE)} == {HERE, DATABASE, *ELSEWHERE}
    assert [words[:2] for _, words in commands(HERE)] == [["peft-advisor", "tune"]] * 2
    assert [words[1] for _, words in commands(DATABASE)] == ["tune", "worker"]


def test_the_page_begins_each_way_with_the_command_that_its_first_table_names():
    named = re.findall(r"^\| [^|]+ \| `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    said = [" ".join(words) for marker in (HERE, "needs Ray", DATABASE) for _, words in commands(marker)]
    assert named[:3] == ["tune", "tune --workers auto", "tune --ray auto"]
    assert "--workers auto" in said[1]
    assert "--ray auto" in said[2]


def test_the_page_starts_the_examples_with_commands_of_their_readme():
    shown = [line for block in blocks(README) for line in block.text.splitlines()]
    of_slurm = [
        line for block in shell_blocks(PAGE) if block.marker == "needs SLURM" for line in block.text.splitlines()
    ]
    assert of_slurm
    assert set(of_slurm) <= set(shown)
    files = set(re.findall(r"examples/\w+/[\w.]+", "\n".join(shown)))
    assert set(re.findall(r"examples/\w+/[\w.]+", PAGE.read_text(encoding="utf-8"))) <= files
    assert {name for name in files if not (ROOT / name).is_file()} == set()


@pytest.mark.slow
def test_the_commands_for_one_machine_run(workplace):
    carried_out(HERE)
    assert (workplace / "studies" / "clones-one-gpu" / "report.md").is_file()
    assert (workplace / "studies" / "clones-box" / "report.md").is_file()


@pytest.mark.slow
def test_the_commands_for_a_database_run(workplace, monkeypatch):
    url = new_database(server())
    monkeypatch.setenv("PGPASSWORD", server().password)
    carried_out(DATABASE, url.replace(f":{server().password}@", "@"))
    assert (workplace / "studies" / "clones" / "report.md").is_file()
