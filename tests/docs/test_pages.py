"""README and docs say what is so: commands parse, links lead somewhere, numbers and names are those of the project."""

import json
import re
from pathlib import Path
from statistics import fmean, median

import click
import pytest

from advisor.catalog.files import knowledge_folder
from advisor.catalog.gpus import all_gpus
from advisor.catalog.tasks import TASKS
from advisor.cli import COMMANDS, group
from tests.docs.pages import PAGES, ROOT, Block, blocks, says, shell_blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
# The commands of docs/extending.md are about a changed copy of the project (`test_extending`).
COMMAND_LINES = [
    (block, words)
    for block in shell_blocks(*(page for page in PAGES if page.name != "extending.md"))
    for words in block.commands()
    if words[0] == "peft-advisor"
]


def lines_of(name: str) -> int:
    return sum(1 for line in (knowledge_folder() / name).read_text(encoding="utf-8").splitlines() if line.strip())


def anchors_of(page: Path) -> set[str]:
    """Return the names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_pages_show_commands():
    assert {words[1] for _, words in COMMAND_LINES} >= set(COMMANDS) & {
        "recommend", "estimate", "check-data", "tune", "predict", "report", "export", "doctor", "evidence",
    }  # fmt: skip


@pytest.mark.parametrize(("block", "words"), COMMAND_LINES, ids=lambda one: one.place if isinstance(one, Block) else "")
def test_every_command_line_parses(block, words, monkeypatch, tmp_path):
    # Files that a command line names must exist for click's own path checks.
    monkeypatch.chdir(tmp_path)
    for word in words:
        if word.endswith((".json", ".jsonl")) and "/" not in word:
            (tmp_path / word).touch()
    command = group.get_command(click.Context(group), words[1])
    assert command is not None, block.place
    command.make_context(words[1], words[2:])


@EVERY_PAGE
def test_every_link_to_a_file_or_heading_of_the_project_leads_there(page):
    for place in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = place.partition("#")
        if "://" in path:
            assert path.startswith("https://")
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name}: {place}"
        assert not anchor or anchor in anchors_of(target), f"{page.name}: {place}"


@EVERY_PAGE
def test_every_folder_and_module_that_a_page_names_exists(page):
    named = re.findall(r"`((?:advisor|studies|knowledge|tests|docs)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    # What `tune` and the walk-throughs make is not there yet.
    made = ("studies/<", "studies/clones", "studies/my-study", "studies/demo", "advisor/exports/plain.py")
    assert [name for name in named if not name.startswith(made) and not (ROOT / name).exists()] == []


@EVERY_PAGE
def test_every_command_that_a_page_names_exists(page):
    named = set(re.findall(r"peft-advisor ([a-z][a-z-]*)", page.read_text(encoding="utf-8")))
    assert named <= set(COMMANDS)


@EVERY_PAGE
def test_a_page_speaks_of_no_machine_and_of_no_session(page):
    assert re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", page.read_text(encoding="utf-8")) is None


def test_ci_runs_exactly_the_test_command_of_the_readme():
    command = "pip install '.[test]' && pytest -n 2"
    assert f"```sh\n{command}\n```" in README
    assert command in (ROOT / ".ci" / "run").read_text()


def test_every_folder_of_the_readme_exists():
    named = re.findall(r"^\| `([\w/]+)/` \|", README, re.MULTILINE)
    assert len(named) >= 4
    assert all((ROOT / folder).is_dir() for folder in named)


def test_the_counts_of_the_readme_are_those_of_the_knowledge_files():
    said = " ".join(README.split())
    assert f"of which there are {lines_of('evidence.jsonl'):,} from {lines_of('papers.jsonl')} sources" in said
    assert f"lists all {len(TASKS)}." in said


def test_the_counts_of_the_other_pages_are_those_of_the_knowledge_files():
    n_models = lines_of("models.jsonl")
    estimates = (ROOT / "docs" / "estimates.md").read_text(encoding="utf-8")
    assert f"{lines_of('step_profiles.jsonl'):,} of them, for 85 of {n_models} models" in estimates
    knowledge = (ROOT / "knowledge" / "README.md").read_text(encoding="utf-8")
    assert f"sizes of {n_models} base models" in knowledge
    assert f"{len(tuple(all_gpus()))} GPUs" in knowledge


def test_a_newcomer_reads_the_readme_in_five_minutes():
    # 238 words a minute is the mean rate of silent reading (Brysbaert 2019, https://doi.org/10.1016/j.jml.2019.104047);
    # what is printed by commands is looked at, not read.
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    assert len(prose.split()) < 5 * 238


def test_the_picture_of_the_readme_is_small_and_has_an_alternative_text():
    found = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert found
    for text, place in found:
        assert len(text) > 20
        assert (ROOT / place).stat().st_size < 200_000


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n[...]\nd\n", "a\nb\nc\nd\n", True),
        ("a\n[...]\n", "a\nb\nc\n", True),
        ("a\n[...]\n", "b\na\n", False),
        ("a\n[...]\nd\n", "a\nb\nc\nd\ne\n", False),
        ("a\nb 1\n", "a\nb 2\n", False),
        ("a\n", "a\nb\n", False),
    ],
)
def test_what_is_left_out_is_marked(shown, printed, agree):
    assert says(shown, printed) is agree


def test_blocks_are_found_with_their_comment_and_answer(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```sh\none --two \\\n  three && four\n```\n\n```text\nsaid\n```\n\n<!-- do it -->\n```json\n{}\n```\n"
    )
    shell, text, marked = blocks(page)
    assert (shell.commands(), shell.answer, shell.line) == ([["one", "--two", "three"], ["four"]], "said\n", 3)
    assert (text.answer, marked.marker, marked.text) == (None, "do it", "{}\n")


def errors_of(study: str, estimated: str, measured: str) -> list[float]:
    """Return estimated / measured - 1 of every published run in the results of a study."""
    (path,) = (ROOT / "studies" / study / "results").glob("*.json")
    kept = json.loads(path.read_text(encoding="utf-8"))
    rows = kept["rows"] if "rows" in kept else kept["lengths"]["560"]["rows"]
    return [row[estimated] / row[measured] - 1 for row in rows]


def test_the_errors_that_the_pages_give_are_those_of_the_studies():
    page, readme = (
        " ".join(text.replace(" %", "%").split())
        for text in ((ROOT / "docs" / "estimates.md").read_text(encoding="utf-8"), README)
    )
    memory = errors_of("memory_accuracy", "reserved_bytes", "measured_bytes")
    sizes = [abs(one) for one in memory]
    seen = f"{len(sizes)} runs | {fmean(sizes):.2%} | {median(sizes):.2%} | {max(sizes):.1%} (BOFT)"
    assert f"| reserved peak, dry run | {seen} |" in page
    assert f"is +{fmean(memory):.2%} on average and never more than {-min(memory):.2%} too low" in page
    assert f"the reserved peak is {fmean(sizes):.1%} off on average and {max(sizes):.1%} at most" in readme
    times = [abs(one) for one in errors_of("time_accuracy", "estimated_s", "published_s")]
    assert f"| {len(times)} runs | {fmean(times):.1%} | {median(times):.1%} | {max(times):.1%} (LoRA-FA) |" in page
