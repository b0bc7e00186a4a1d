"""The paired bootstrap: its intervals agree with resampling by hand, with Student's t, and with simulated studies."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from scipy.stats import ttest_1samp, ttest_ind
from sklearn.metrics import f1_score, roc_auc_score

from advisor.catalog.tasks import find_task, with_execution
from advisor.errors import DataError
from advisor.metrics.measure import measure
from advisor.training.comparison import difference_of, paired_difference
from advisor.training.predictions import predictions_of, write_predictions
from advisor.trial import Prediction
from tests.training.toy import CLONES, COMMENTS, SUMMARIES, WORDS, examples, predictions

pytestmark = pytest.mark.slow

ACCURACY = replace(CLONES, metrics=("accuracy",))


def write(path: Path, expected: list[str], predicted: list[str]) -> Path:
    write_predictions(predictions(expected, predicted), path)
    return path


def test_a_clear_difference_has_an_interval_above_zero(tmp_path: Path) -> None:
    rng = random.Random(0)
    expected = [rng.choice("01") for _ in range(300)]
    good = [truth if rng.random() < 0.9 else "0" for truth in expected]
    poor = [truth if rng.random() < 0.6 else "0" for truth in expected]
    best, other = write(tmp_path / "best.jsonl", expected, good), write(tmp_path / "other.jsonl", expected, poor)
    found = paired_difference(CLONES, [best], [other], against="majority class", seed=1, label_names=("0", "1"))
    names = ("0", "1")
    value = measure(("f1",), expected, good, label_names=names)["f1"]
    value -= measure(("f1",), expected, poor, label_names=names)["f1"]
    assert found.value == pytest.approx(value)
    assert 0 < found.low < found.value < found.high
    assert (found.against, found.metric, found.n_resamples) == ("majority class", "f1", 1000)
    assert found == paired_difference(CLONES, [best], [other], against="majority class", seed=1)


def test_the_same_predictions_differ_by_nothing(tmp_path: Path) -> None:
    expected = [example.target for example in examples(SUMMARIES, 30)]
    file = write(tmp_path / "one.jsonl", expected, [text[:-3] for text in expected])
    found = paired_difference(SUMMARIES, [file], [file], against="itself", seed=0, n_resamples=100)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_interval_is_that_of_sacrebleus_own_resampling_of_sentences(tmp_path: Path) -> None:
    rng = random.Random(0)
    expected = [f"return the {rng.choice(WORDS)} of {rng.choice(WORDS)} in a list" for _ in range(60)]
    good = [text.replace("of", "for") if rng.random() < 0.3 else text for text in expected]
    poor = [text.replace("the", "x") if rng.random() < 0.7 else text for text in expected]
    best, other = write(tmp_path / "best.jsonl", expected, good), write(tmp_path / "other.jsonl", expected, poor)
    found = paired_difference(SUMMARIES, [best], [other], against="o", seed=3, n_resamples=300)
    resampled = []
    draw = random.Random(1)
    for _ in range(300):
        rows = [draw.randrange(60) for _ in range(60)]
        picked = [[texts[row] for row in rows] for texts in (expected, good, poor)]
        scores = [sacrebleu.corpus_bleu(texts, [picked[0]], force=True).score for texts in picked[1:]]
        resampled.append(scores[0] - scores[1])
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=2.0)
    assert found.high == pytest.approx(high, abs=2.0)


def test_predictions_for_other_examples_are_refused(tmp_path: Path) -> None:
    best, other = write(tmp_path / "a.jsonl", ["1", "0"], ["1", "1"]), write(tmp_path / "b.jsonl", ["1"], ["1"])
    with pytest.raises(DataError, match="not predictions for the same examples"):
        paired_difference(CLONES, [best], [other], against="o", seed=0)
    with pytest.raises(DataError, match="cannot be read"):
        paired_difference(CLONES, [best], [tmp_path / "none.jsonl"], against="o", seed=0)


def guesses(rng: np.random.Generator, expected: list[str], accuracies: np.ndarray) -> list[str]:
    """Return guesses that are right where a number drawn for the example is below its accuracy."""
    right = rng.random(len(expected)) < accuracies
    return [truth if hit else str(1 - int(truth)) for truth, hit in zip(expected, right, strict=True)]


def seeds_of(folder: Path, name: str, expected: list[str], made: list[list[str]]) -> list[Path]:
    return [write(folder / f"{name}{i}.jsonl", expected, guessed) for i, guessed in enumerate(made)]


def test_the_difference_of_seeds_is_that_of_the_means_of_sklearns_metric(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = [str(label) for label in rng.integers(0, 2, 80)]
    made = [guesses(rng, expected, np.full(80, accuracy)) for accuracy in (0.9, 0.8, 0.7, 0.75, 0.6)]
    scores = [f1_score(expected, guessed, pos_label="1") for guessed in made]
    best, other = seeds_of(tmp_path, "best", expected, made[:3]), seeds_of(tmp_path, "other", expected, made[3:])
    found = paired_difference(CLONES, best, other, against="o", seed=0, label_names=("0", "1"))
    assert found.value == pytest.approx(np.mean(scores[:3]) - np.mean(scores[3:]))
    assert (found.n_seeds, found.n_seeds_against) == (3, 2)
    assert found == paired_difference(CLONES, best, other, against="o", seed=0, label_names=("0", "1"))


def test_seeds_that_agree_add_nothing_to_the_interval(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = [str(label) for label in rng.integers(0, 2, 100)]
    good, poor = (guesses(rng, expected, np.full(100, accuracy)) for accuracy in (0.9, 0.7))
    one = paired_difference(
        CLONES,
        seeds_of(tmp_path, "a", expected, [good]),
        seeds_of(tmp_path, "b", expected, [poor]),
        against="o",
        seed=0,
    )
    three = paired_difference(
        CLONES,
        seeds_of(tmp_path, "c", expected, [good] * 3),
        seeds_of(tmp_path, "d", expected, [poor] * 3),
        against="o",
        seed=0,
    )
    assert (three.value, three.low, three.high) == pytest.approx((one.value, one.low, one.high))


def right_for(*n_right: int, n_examples: int = 4000) -> list[list[Prediction]]:
    """Return predictions of one label: right for so many examples, with one seed after the other."""
    return [list(predictions(["1"] * n_examples, ["1"] * n + ["0"] * (n_examples - n))) for n in n_right]


def test_where_seeds_are_all_that_varies_the_interval_is_students_t() -> None:
    # Accuracies 0.9, 0.8, 0.7 and 0.5, 0.4, 0.3, each known to within 0.01: by the two-sample t-test, equal variances.
    best, other = right_for(3600, 3200, 2800), right_for(2000, 1600, 1200)
    found = difference_of(ACCURACY, best, other, against="o", seed=0, n_resamples=4000, label_names=("0", "1"))
    wanted = ttest_ind([0.9, 0.8, 0.7], [0.5, 0.4, 0.3]).confidence_interval()
    assert found.value == pytest.approx(0.4)
    assert found.low == pytest.approx(wanted.low, abs=0.02)
    assert found.high == pytest.approx(wanted.high, abs=0.02)


def test_a_baseline_has_no_seeds_and_the_noise_is_the_best_trials_own() -> None:
    best, baseline = right_for(2400, 2000, 1600), right_for(0)
    found = difference_of(
        ACCURACY, best, baseline, against="o", seed=0, n_resamples=4000, other_is_trained=False, label_names=("0", "1")
    )
    wanted = ttest_1samp([0.6, 0.5, 0.4], 0.0).confidence_interval()
    assert found.low == pytest.approx(wanted.low, abs=0.03)
    assert found.high == pytest.approx(wanted.high, abs=0.03)
    assert found.n_seeds_against == 1


def test_no_end_of_an_interval_lies_beyond_what_the_metric_can_differ_by() -> None:
    found = difference_of(ACCURACY, right_for(4000, 0), right_for(4000, 0), against="o", seed=0, label_names=("0", "1"))
    assert (found.low, found.value, found.high) == (-1.0, 0.0, 1.0)


def test_a_contender_without_predictions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        difference_of(ACCURACY, right_for(3), [], against="o", seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spread", "examples_only"),
    # Spread of the logit between seeds: none, as large as the noise of the examples, and larger than it.
    [(0.0, (0.9, 1.0)), (0.15, (0.8, 1.0)), (0.6, (0.0, 0.7))],
)
def test_the_interval_covers_the_true_gain_in_about_95_of_100_simulated_studies(
    spread: float, examples_only: tuple[float, float]
) -> None:
    rng = np.random.default_rng(5)
    n_studies, n_examples, n_seeds = 300, 200, 3
    # Accuracy of very many seeds on very many examples.
    accuracy = [
        np.mean(chance(logit + spread * rng.normal(size=(4000, 1)), hardness(rng, 500))) for logit in (1.6, 0.9)
    ]
    truth = accuracy[0] - accuracy[1]
    n_covered = {n_seeds: 0, 1: 0}
    expected = ["1"] * n_examples
    for study in range(n_studies):
        hard = hardness(rng, n_examples)
        best, other = (
            [
                predictions(expected, guesses(rng, expected, chance(logit + spread * rng.normal(), hard)))
                for _ in range(n_seeds)
            ]
            for logit in (1.6, 0.9)
        )
        for n in n_covered:
            found = difference_of(
                ACCURACY, best[:n], other[:n], against="o", seed=study, n_resamples=400, label_names=("0", "1")
            )
            n_covered[n] += found.low <= truth <= found.high
    assert n_covered[n_seeds] / n_studies >= 0.93
    # One seed of each says nothing of seeds: its interval is right only where they do not differ.
    assert examples_only[0] <= n_covered[1] / n_studies <= examples_only[1]


def hardness(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n) * 1.5


def chance(quality: float | np.ndarray, hard: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(hard - quality))


def test_sets_of_labels_are_compared_by_the_metric_that_scikit_learn_takes_of_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ("long, or not", "summary", "usage")
    truth = (rng.random((80, 3)) < 0.4).astype(int)
    good, poor = (np.where(rng.random((80, 3)) < noise, 1 - truth, truth) for noise in (0.1, 0.3))

    def said(table: np.ndarray) -> list[str]:
        return [json.dumps([name for name, has in zip(names, row, strict=True) if has]) for row in table]

    files = [write(tmp_path / f"{number}.jsonl", said(truth), said(table)) for number, table in enumerate((good, poor))]
    found = paired_difference(COMMENTS, files[:1], files[1:], against="o", seed=2, label_names=names)
    values = [f1_score(truth, table, average="macro") for table in (good, poor)]
    assert found.metric == "macro-f1"
    assert found.value == pytest.approx(values[0] - values[1])
    assert 0 < found.low < found.value < found.high
    assert found == paired_difference(COMMENTS, files[:1], files[1:], against="o", seed=2)  # labels of the files


def test_programs_are_compared_by_what_became_of_them_not_by_their_text(tmp_path: Path) -> None:
    rng = random.Random(0)
    task = with_execution(find_task("code-generation"))
    best, other = ([rng.random() < share for _ in range(200)] for share in (0.7, 0.3))

    def run(passed: list[bool], path: Path) -> Path:
        made = predictions(["a"] * 200, ["a"] * 200)  # all texts alike
        ended = [
            replace(item, outcome="passed" if is_right else "failed", error="" if is_right else "AssertionError")
            for item, is_right in zip(made, passed, strict=True)
        ]
        write_predictions(ended, path)
        return path

    paths = run(best, tmp_path / "best.jsonl"), run(other, tmp_path / "other.jsonl")
    found = paired_difference(task, [paths[0]], [paths[1]], against="o", seed=0, n_resamples=2000)
    gains = np.array(best, dtype=float) - np.array(other, dtype=float)
    error = float(gains.std() / np.sqrt(200))
    assert found.metric == "pass@1"
    assert found.value == pytest.approx(gains.mean())
    # The normal interval of a mean of 200 paired differences.
    assert found.low == pytest.approx(gains.mean() - 1.96 * error, abs=0.02)
    assert found.high == pytest.approx(gains.mean() + 1.96 * error, abs=0.02)


def test_an_area_is_compared_by_the_scores_of_the_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ranked = replace(CLONES, metrics=("roc-auc",))
    truth = rng.random(200) < 0.4
    expected = [str(int(one)) for one in truth]
    rows = [replace(one, text=f"{number}") for number, one in enumerate(examples(CLONES, 200))]
    paths, areas = [], []
    for name, signal in (("good", 2.0), ("poor", 0.5)):
        scores = 1 / (1 + np.exp(-(signal * truth + rng.normal(size=200))))
        areas.append(roc_auc_score(truth, scores))
        paths.append(tmp_path / f"{name}.jsonl")
        # All say the same: the scores alone tell them apart.
        write_predictions(predictions_of(rows, ["0"] * 200, expected=expected, scores=scores[:, None]), paths[-1])
    found = paired_difference(ranked, paths[:1], paths[1:], against="poor", seed=0, label_names=("0", "1"))
    assert found.value == pytest.approx(areas[0] - areas[1])
    assert 0 < found.low < found.value < found.high
    write_predictions(predictions_of(rows, ["0"] * 200, expected=expected), paths[0])
    with pytest.raises(DataError, match="computed from scores"):
        paired_difference(ranked, paths[:1], paths[1:], against="poor", seed=0, label_names=("0", "1"))
