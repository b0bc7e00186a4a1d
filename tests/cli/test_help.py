"""Help pages: each comes without the modules that its command computes with, and says what a newcomer needs."""

import json
import shlex
import subprocess
import sys

import click
import pytest

from studies.help_startup.run import help_pages
from tests.cli.test_cli import run
from tests.cli.test_json import CALLS, commands, found_command

# What takes seconds, and the parts of this package that take more than a few hundredths of one.
HEAVY = (
    "torch", "transformers", "peft", "optuna", "numpy", "scipy", "pandas", "rich", "plotly", "jinja2", "matplotlib",
    "pyarrow", "huggingface_hub", "advisor.tuning", "advisor.recommendation", "advisor.report", "advisor.search",
    "advisor.training", "advisor.dryrun", "advisor.modeling", "advisor.metrics", "advisor.data.duplicates",
    "advisor.data.splitting", "advisor.data.dataset",
)  # fmt: skip
# Nothing to choose there, or an argument that says it all.
WITHOUT_EXAMPLE = {"doctor", "evidence show", "evidence add", "evidence list-local", "evidence remove-local"}
LOADED = """
import json, sys
from advisor.cli import main
found = {}
for page in json.loads(sys.argv[1]):
    before = set(sys.modules)
    try:
        main(page.split())
    except SystemExit as ended:
        assert not ended.code, page
    found[page] = sorted(set(sys.modules) - before)
print("\\0" + json.dumps(found))
"""


def test_no_help_page_loads_what_its_command_computes_with():
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(help_pages())], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.rpartition("\0")[2])
    assert set(found) == set(help_pages())
    assert all(f"advisor.cli.{page.split()[0].replace('-', '_')}" in found[page] for page in found if page in WHOLE)
    slow = {page: [name for name in HEAVY if name in loaded] for page, loaded in found.items()}
    assert {page: names for page, names in slow.items() if names} == {}


WHOLE = [page for page in help_pages() if len(page.split()) == 2]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_option_is_explained(words):
    command = found_command(words)
    silent = [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
    assert silent == []
    assert command.help


@pytest.mark.parametrize("name", [name for name in CALLS if name not in WITHOUT_EXAMPLE] + ["evidence"])
def test_a_page_ends_its_description_with_an_example_that_can_be_run(capsys, name):
    _, page, _ = run(capsys, name, "--help")
    (line,) = [line.strip() for line in page.splitlines() if line.strip().startswith("Example: ")]
    program, *words = shlex.split(line.removeprefix("Example: "))
    assert (program, words[0]) == ("peft-advisor", name)
    found_command((name,)).make_context(name, words[1:])  # refuses what the command would refuse


def test_numbers_have_a_unit_or_a_thing_that_they_count(capsys):
    _, page, _ = run(capsys, "recommend", "--help")
    assert "--vram GIB" in page
    _, page, _ = run(capsys, "tune", "--help")
    assert "--gpu-hours HOURS" in page
    assert "--time DURATION" in page
    assert "[default: 20]" in " ".join(page.split())
    assert "[default: 3]" in " ".join(page.split())
