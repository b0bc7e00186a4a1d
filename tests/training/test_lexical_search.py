"""The search for words: what a person finds by the same words, and scikit-learn's own cosines."""

from pathlib import Path

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from advisor.data.dataset import Code
from advisor.data.examples import Example
from advisor.training.lexical_search import lexical_search, words_of
from advisor.training.predictions import read_predictions
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


def test_words_are_those_within_identifiers() -> None:
    assert words_of("parseJson(HTTPServer_2 x)") == ["parse", "json", "http", "server", "2", "x"]
    assert words_of("max_größe = v2Länge") == ["max", "größe", "v", "2", "länge"]


def test_shared_words_put_the_right_code_first(tmp_path: Path) -> None:
    found = lexical_search(SEARCHES, ROWS, predictions=tmp_path / "lexical.jsonl")
    assert found.metrics["mrr"] == 1.0
    assert found.n_examples == 3
    assert [item.predicted for item in read_predictions(tmp_path / "lexical.jsonl")] == ["[1]"] * 3


def test_ranks_are_those_of_scikit_learns_cosines() -> None:
    shifted = tuple(
        Example(example_id=row.example_id, text=row.text, text_pair=CODES[(number + 1) % 3], target="1")
        for number, row in enumerate(ROWS)
    )
    vectorizer = TfidfVectorizer(analyzer=words_of, sublinear_tf=True)
    codes = vectorizer.fit_transform([*(row.text_pair for row in shifted), "code"])[:-1]
    cosines = cosine_similarity(vectorizer.transform(QUERIES), codes)
    ranks = [int((row >= row[number]).sum()) for number, row in enumerate(cosines)]  # of equals the right one is last
    found = lexical_search(SEARCHES, shifted)
    assert found.metrics["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / 3)
    assert found.metrics["mrr"] < 1


def test_words_that_no_code_has_find_the_right_code_last() -> None:
    codebase = [Code(code_id=str(number), code="+-*/") for number in range(4)]
    rows = (Example(example_id="1", text="anything", text_pair="+-*/", target="1", code_id="0"),)
    assert lexical_search(SEARCHES, rows, codebase=codebase).metrics["mrr"] == pytest.approx(1 / 4)
