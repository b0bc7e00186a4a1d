"""The search for words: what a person finds by the same words, and scikit-learn's own cosines."""

from pathlib import Path

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from advisor.data.dataset import Code
from advisor.data.examples import Example
from advisor.training.baselines import lexical_search
from advisor.training.few_shot import _words
from advisor.training.predictions import read_predictions
from advisor.training.runner import DeviceRunner
from advisor.trial import Evaluation
from tests.training.toy import SEARCHES

CODES = (
    "def parseJson(path): return json.load(open(path))",
    "def write_csv(rows): csv.writer(out).writerows(rows)",
    "def sort_rows(rows): return sorted(rows)",
)
QUERIES = ("parse a JSON file", "write rows as CSV", "sort the rows")
ROWS = tuple(
    Example(example_id=str(number), text=query, text_pair=code, target="1")
    for number, (query, code) in enumerate(zip(QUERIES, CODES, strict=True))
)


def searched(
    rows: tuple[Example, ...], *, codebase: tuple[Code, ...] = (), predictions: Path | None = None
) -> Evaluation:
    splits = {"train": rows, "valid": rows, "test": rows}
    runner = DeviceRunner(SEARCHES, splits, seed=0, device="cpu", codebase=codebase)
    return lexical_search(runner, SEARCHES, predictions=predictions)


def test_words_are_those_within_identifiers() -> None:
    assert _words("parseJson(HTTPServer_2 x)") == ["parse", "json", "(", "http", "server", "2", "x", ")"]
    assert _words("max_größe = v2Länge") == ["max", "größe", "=", "v", "2", "länge"]


def test_shared_words_put_the_right_code_first(tmp_path: Path) -> None:
    found = searched(ROWS, predictions=tmp_path / "lexical.jsonl")
    assert found.metrics["mrr"] == 1.0
    assert found.n_examples == 3
    assert [item.predicted for item in read_predictions(tmp_path / "lexical.jsonl")] == ["[1]"] * 3


def test_ranks_are_those_of_scikit_learns_cosines() -> None:
    shifted = tuple(
        Example(example_id=row.example_id, text=row.text, text_pair=CODES[(number + 1) % 3], target="1")
        for number, row in enumerate(ROWS)
    )
    vectorizer = TfidfVectorizer(analyzer=_words, sublinear_tf=True)
    codes = vectorizer.fit_transform([row.text_pair for row in shifted])
    cosines = cosine_similarity(vectorizer.transform(QUERIES), codes)
    ranks = [int((row >= row[number]).sum()) for number, row in enumerate(cosines)]  # of equals the right one is last
    found = searched(shifted)
    assert found.metrics["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / 3)
    assert found.metrics["mrr"] < 1


def test_words_that_no_code_has_find_the_right_code_last() -> None:
    codebase = tuple(Code(code_id=str(number), code="+-*/") for number in range(4))
    rows = (Example(example_id="1", text="anything", text_pair="+-*/", target="1", code_id="0"),)
    assert searched(rows, codebase=codebase).metrics["mrr"] == pytest.approx(1 / 4)
