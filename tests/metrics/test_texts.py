"""Metrics of texts agree with the libraries they are named after."""

import sys

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import word_tokenize
from nltk.translate.meteor_score import single_meteor_score
from rapidfuzz.distance import Indel
from rouge_score.rouge_scorer import RougeScorer

from advisor.catalog.tasks import Metric
from advisor.errors import InputError
from advisor.metrics.registry import METRICS
from advisor.metrics.texts import BATCH_SIZE, TEXT_METRICS, literals_written_out, text_statistics
from tests.training.toy import TEXTS

PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=10)
PLAIN: tuple[Metric, ...] = tuple(metric for metric in TEXT_METRICS if metric != "codebleu")
Pairs = list[tuple[str, str]]


def both(pairs: Pairs) -> tuple[list[str], list[str]]:
    return [truth for truth, _ in pairs], [guess for _, guess in pairs]


def value(metric: Metric, expected: list[str], predicted: list[str]) -> float:
    return text_statistics(metric, expected, predicted).value


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS)
def test_texts_agree_with_sacrebleu_and_rouge_score(pairs: Pairs) -> None:
    expected, predicted = both(pairs)
    assert value("bleu", expected, predicted) == sacrebleu.corpus_bleu(predicted, [expected], force=True).score
    assert value("chrf", expected, predicted) == sacrebleu.corpus_chrf(predicted, [expected]).score
    rouge = RougeScorer(["rougeL"])
    scores = [rouge.score(truth, guess)["rougeL"].fmeasure for truth, guess in pairs]
    assert value("rouge-l", expected, predicted) == pytest.approx(np.mean(scores))
    assert value("exact-match", expected, predicted) == pytest.approx(
        np.mean([a.strip() == b.strip() for a, b in pairs])
    )


class Thesaurus:
    """A word list in which nothing has a synonym."""

    @staticmethod
    def synsets(word: str) -> tuple[()]:
        return ()


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS)
def test_meteor_is_nltks_without_synonyms(pairs: Pairs) -> None:
    scores = [
        single_meteor_score(
            word_tokenize(truth, preserve_line=True), word_tokenize(guess, preserve_line=True), wordnet=Thesaurus()
        )
        for truth, guess in pairs
    ]
    assert value("meteor", *both(pairs)) == pytest.approx(np.mean(scores))


def test_meteor_is_computed_by_hand() -> None:
    # Four of five words match, two of them by their stem, in one piece: precision 4/5, recall 4/4, one chunk of 4.
    f_mean = 0.8 * 1 / (0.9 * 0.8 + 0.1 * 1)
    assert value("meteor", ["returns the sorted list"], ["return the sort list quickly"]) == pytest.approx(
        f_mean * (1 - 0.5 * (1 / 4) ** 3)
    )
    assert value("meteor", ["one two three four"], ["one two three four"]) == pytest.approx(1 - 0.5 / 64)
    assert value("meteor", ["", "a"], ["b", ""]) == 0


def test_edit_similarity_is_computed_by_hand() -> None:
    # One inserted character, 5 and 6 long: 1 - 1/11. Two deleted and two inserted of 4 and 4: 1 - 4/8.
    assert value("edit-similarity", ["x = 1", "abcd"], ["x = 12", "abxy"]) == (91 + 50) / 2
    assert value("edit-similarity", ["", "a", ""], ["", "", "b"]) == pytest.approx(100 / 3)


@settings(max_examples=40, deadline=None)
@given(truth=st.text(max_size=12), guess=st.text(max_size=12))
def test_edit_similarity_is_the_whole_percentage_of_the_indel_ratio(truth: str, guess: str) -> None:
    a, b = truth.strip(), guess.strip()
    if "<" not in a + b:
        wanted = 100 if a == b else round(100 * Indel.normalized_similarity(a, b)) if a and b else 0
        assert value("edit-similarity", [truth], [guess]) == wanted


def test_placeholders_of_literals_stand_for_what_they_hold() -> None:
    code = "x = <STR_LIT> + <STR_LIT:a\n> + <NUM_LIT:12> + <NUM_LIT> + <CHAR_LIT:c> + <CHAR_LIT> < y >"
    assert literals_written_out(code) == "x =  + a\n + 12 + 0 + c +  < y >"
    assert value("edit-similarity", ["f ( <NUM_LIT:1> )"], ["f ( 1 )"]) == 100


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS, metric=st.sampled_from(PLAIN), order=st.randoms(use_true_random=False))
def test_a_metric_keeps_its_bounds_and_does_not_depend_on_the_order_of_examples(pairs: Pairs, metric, order) -> None:
    found = value(metric, *both(pairs))
    assert METRICS[metric].low <= found <= METRICS[metric].high + 1e-9
    assert value(metric, *both(order.sample(pairs, len(pairs)))) == pytest.approx(found, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    pairs=PAIRS,
    # Not BLEU: without a single 4-gram it is 0, also for a perfect prediction.
    metric=st.sampled_from([metric for metric in PLAIN if metric != "bleu"]),
)
def test_no_prediction_is_better_than_the_reference_itself(pairs: Pairs, metric: Metric) -> None:
    expected, predicted = both(pairs)
    assert value(metric, expected, predicted) <= value(metric, expected, expected) + 1e-9


@pytest.mark.parametrize("metric", PLAIN)
def test_a_perfect_prediction_has_the_highest_value(metric: Metric) -> None:
    texts = ["return the sum of all the values", "write a list of names to the file"]
    highest = 1 - 0.5 * (7**-3 + 8**-3) / 2 if metric == "meteor" else METRICS[metric].high
    assert value(metric, texts, texts) == pytest.approx(highest)


@pytest.mark.parametrize("metric", PLAIN)
def test_a_long_split_is_measured_in_batches_that_are_reported(metric: Metric) -> None:
    expected = [f"return value {number} of the list" for number in range(BATCH_SIZE + 20)]
    predicted = [text.replace("of", "in") if number % 3 else text for number, text in enumerate(expected)]
    seen: list[tuple[int, int]] = []
    whole = text_statistics(metric, expected, predicted, progress=lambda done, n: seen.append((done, n)))
    assert seen == [(BATCH_SIZE, BATCH_SIZE + 20), (BATCH_SIZE + 20, BATCH_SIZE + 20)]
    parts = [text_statistics(metric, expected[half], predicted[half]) for half in (slice(0, 100), slice(100, None))]
    assert np.array_equal(np.concatenate([part.rows for part in parts]), whole.rows)


def test_what_cannot_be_measured_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="mrr is not computed from pairs of texts"):
        text_statistics("mrr", ["a"], ["a"])
    with pytest.raises(ValueError, match="1 predictions for 2 examples"):
        text_statistics("bleu", ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="0 predictions for 0 examples"):
        text_statistics("bleu", [], [])
    monkeypatch.setitem(sys.modules, "rapidfuzz.fuzz", None)
    with pytest.raises(InputError, match=r"metric edit-similarity: needs 'rapidfuzz'; .* `pip install rapidfuzz`"):
        text_statistics("edit-similarity", ["a"], ["a"])
