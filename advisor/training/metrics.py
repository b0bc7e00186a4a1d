"""Metrics from texts: what was expected against what was predicted. Higher is better for all.

- f1: two classes: F1 of the second label ("1", "true", "yes"); more classes: macro average. 0 to 1.
- accuracy, exact-match: share of equal texts (exact-match ignores white space around them). 0 to 1.
- mcc: Matthews correlation, -1 to 1.
- bleu: corpus BLEU of sacrebleu, tokenizer 13a, exponential smoothing, as sacrebleu does by default. 0 to 100.
- chrf: corpus chrF2 of sacrebleu. 0 to 100.
- rouge-l: mean sentence ROUGE-L F-measure of rouge-score, no stemming. 0 to 1.
"""

from collections.abc import Sequence

from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sklearn.metrics import f1_score, matthews_corrcoef

from advisor.catalog.tasks import Metric


def measure(
    metrics: Sequence[Metric], expected: Sequence[str], predicted: Sequence[str], *, label_names: Sequence[str] = ()
) -> dict[str, float]:
    """Return the value of each metric.

    Args:
        metrics: Names, in the order wanted.
        expected: Labels or reference texts.
        predicted: Labels or generated texts, as many.
        label_names: All classes in the order of their ids; empty for generation.

    Raises:
        ValueError: A metric that is not computed from pairs of texts, such as "mrr".
    """
    return {metric: _value(metric, expected, predicted, label_names) for metric in metrics}


def _value(metric: Metric, expected: Sequence[str], predicted: Sequence[str], label_names: Sequence[str]) -> float:
    if metric == "f1":
        return _f1(expected, predicted, label_names)
    if metric == "mcc":
        if len({*expected, *predicted}) == 1:
            return 0.0  # not defined; scikit-learn says 0 too, with a warning
        return float(matthews_corrcoef(list(expected), list(predicted)))
    if metric == "bleu":
        return float(bleu().corpus_score(list(predicted), [list(expected)]).score)
    if metric == "chrf":
        return float(CHRF().corpus_score(list(predicted), [list(expected)]).score)
    if metric in ("accuracy", "exact-match", "rouge-l"):
        values = per_example(metric, expected, predicted)
        return sum(values) / len(values)
    raise ValueError(f"{metric} is not computed from pairs of texts")


def per_example(metric: Metric, expected: Sequence[str], predicted: Sequence[str]) -> list[float]:
    """Return the metric of each example, for metrics that are means over examples.

    Raises:
        ValueError: The metric is not such a mean.
    """
    pairs = list(zip(expected, predicted, strict=True))
    if metric == "accuracy":
        return [float(truth == guess) for truth, guess in pairs]
    if metric == "exact-match":
        return [float(truth.strip() == guess.strip()) for truth, guess in pairs]
    if metric == "rouge-l":
        scorer = RougeScorer(["rougeL"], use_stemmer=False)
        return [float(scorer.score(truth, guess)["rougeL"].fmeasure) for truth, guess in pairs]
    raise ValueError(f"{metric} is not a mean over examples")


def bleu() -> BLEU:
    """Return the scorer that "bleu" means here."""
    # Code may well end in " .", which sacrebleu would otherwise take for tokenized text and warn about.
    return BLEU(tokenize="13a", smooth_method="exp", force=True)


def _f1(expected: Sequence[str], predicted: Sequence[str], label_names: Sequence[str]) -> float:
    options = {"zero_division": 0.0}
    if len(label_names) == 2:
        return float(f1_score(list(expected), list(predicted), pos_label=label_names[1], **options))
    # Only classes that occur: a class without examples on either side has no F1 and would count as 0.
    return float(f1_score(list(expected), list(predicted), average="macro", **options))
