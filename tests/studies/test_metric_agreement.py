"""Our metrics still give what the published tools gave on the committed inputs."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from studies.metric_agreement.cases import Case, committed_cases
from studies.metric_agreement.data_flows import our_parts
from studies.metric_agreement.inputs import FOLDER, damaged, nearest, read_pairs

RESULT: dict[str, Any] = json.loads(max((Path(FOLDER).parent / "results").glob("*.json")).read_text(encoding="utf-8"))
TOLD = {(row["metric"], row["data"]): row for row in RESULT["committed"]}


@pytest.fixture(scope="module")
def cases() -> dict[tuple[str, str], Case]:
    return {(case.metric, case.data): case for case in committed_cases()}


def test_the_inputs_are_those_that_the_tools_were_given() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir()}
    assert found == RESULT["inputs"]
    assert all(len(read_pairs(path)) >= 200 for path in FOLDER.iterdir())


def test_every_comparison_of_the_study_is_recorded_and_has_enough_examples(cases: dict[tuple[str, str], Case]) -> None:
    assert set(cases) == set(TOLD)
    assert all(row["n_examples"] >= 200 for row in TOLD.values())


@pytest.mark.parametrize("key", TOLD, ids="/".join)
def test_a_metric_gives_what_its_tool_gave(key: tuple[str, str], cases: dict[tuple[str, str], Case]) -> None:
    assert cases[key].ours() == pytest.approx(TOLD[key]["theirs"], abs=1e-6)


def test_codebleu_gives_what_the_package_gave_wherever_that_is_repeatable() -> None:
    pytest.importorskip("codebleu", reason="needs the optional package codebleu with tree-sitter's grammars")
    told = RESULT["codebleu"]["demo functions"]
    parts, of_pairs = our_parts(read_pairs(FOLDER / "functions.jsonl"), "python")
    assert parts[:3] == pytest.approx(told["theirs"], abs=1e-6)
    repeatable = [pair for pair in zip(of_pairs, told["data_flow_of_pairs"], strict=True) if pair[1] is not None]
    assert len(repeatable) >= 200
    assert [mine for mine, _ in repeatable] == pytest.approx([its for _, its in repeatable], abs=1e-6)
    low, high = told["data_flow_of_the_package"]
    assert low - 0.01 <= parts[3] <= high + 0.01  # the rest changes with the hash seed


def test_predictions_are_those_of_the_most_alike_source_and_some_are_damaged() -> None:
    rows = [
        {"source": "def add_numbers(first, second)", "target": "Adds two numbers"},
        {"source": "def add_all(first, second, third)", "target": "Adds three"},
        {"source": "class Report", "target": "A report"},
        {"source": "def render(report)", "target": "Shows it"},
        {"source": "def add(first)", "target": "Adds one"},
    ]
    found = nearest(rows)
    assert found[0].predicted == "Adds two numbers"  # every tenth is perfect
    assert found[4].predicted in ("Adds two numbers", "Adds three")
    assert damaged(found * 20)[67].predicted == ""
