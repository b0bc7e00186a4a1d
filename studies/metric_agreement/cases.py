"""What is compared: for each metric and data set our value, and that of the tool that the metric is named after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from advisor.catalog.tasks import Metric
from advisor.metrics.class_scores import measure_scores
from advisor.metrics.measure import measure
from advisor.metrics.retrieval import (
    QueryRanks,
    measure_ranking,
    precision_at_r,
    ranks_from_ids,
    ranks_from_scores,
)
from studies.metric_agreement.evaluators import Evaluators
from studies.metric_agreement.inputs import FOLDER, Pair, embeddings, groups, read_pairs

_RETURNED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison.

    Attributes:
        metric: Ours; "precision at R" has no name in the catalogue.
        tool: The reference.
        data: What was measured.
        n_examples: Pairs, or queries.
        ours: Our value.
        theirs: The tool's, from CodeXGLUE's evaluators where it needs them.
    """

    metric: str
    tool: str
    data: str
    n_examples: int
    ours: Callable[[], float]
    theirs: Callable[[Evaluators], float]


def committed_cases() -> list[Case]:
    """Return the comparisons on the inputs of this folder."""
    summaries, functions = read_pairs(FOLDER / "summaries.jsonl"), read_pairs(FOLDER / "functions.jsonl")
    return [
        *text_cases("demo summaries", summaries),
        *text_cases("demo functions", functions),
        *ranking_cases("demo functions", functions),
        *group_cases("demo summaries", [pair.reference for pair in summaries], [pair.predicted for pair in summaries]),
    ]


def text_cases(data: str, pairs: Sequence[Pair]) -> list[Case]:
    """Return the comparisons of texts; CodeBLEU is compared apart, in `data_flows`."""
    theirs: dict[Metric, tuple[str, Callable[[Evaluators], float]]] = {
        "codexglue-bleu": ("CodeXGLUE code-to-text", lambda tools: tools.sentence_bleu(pairs)),
        "codexglue-corpus-bleu": ("CodeXGLUE bleu.py", lambda tools: tools.corpus_bleu(pairs)),
        "edit-similarity": ("CodeXGLUE completion, fuzzywuzzy", lambda tools: tools.edit_similarity(pairs)),
        "bleu": ("sacrebleu", lambda _: _sacrebleu(pairs, "corpus_bleu", force=True)),
        "chrf": ("sacrebleu", lambda _: _sacrebleu(pairs, "corpus_chrf")),
        "rouge-l": ("rouge-score", lambda _: _rouge_l(pairs)),
        "meteor": ("nltk, no synonyms", lambda _: _meteor(pairs)),
    }
    expected, predicted = [pair.reference for pair in pairs], [pair.predicted for pair in pairs]
    return [
        Case(
            metric=metric, tool=tool, data=data, n_examples=len(pairs), theirs=value,
            ours=lambda metric=metric: measure([metric], expected, predicted)[metric],
        )
        for metric, (tool, value) in theirs.items()
    ]  # fmt: skip


def ranking_cases(data: str, pairs: Sequence[Pair]) -> list[Case]:
    """Return the comparisons of searches: each reference looks for its prediction among all."""
    counts = embeddings([*(pair.reference for pair in pairs), *(pair.predicted for pair in pairs)])
    likeness = counts[: len(pairs)] @ counts[len(pairs) :].T
    returned = [[int(item) for item in row[:_RETURNED]] for row in np.argsort(-likeness, axis=1)]
    answers = list(range(len(pairs)))
    queries = ranks_from_ids(returned, [[answer] for answer in answers])
    whole = ranks_from_scores([likeness], [[answer] for answer in answers])
    truth = np.eye(len(pairs))
    return [
        _ranking_case("mrr", "CodeXGLUE code search", data, queries, lambda tools: tools.mrr(answers, returned)),
        _ranking_case("ndcg@10", "scikit-learn", data, whole, lambda _: _sklearn("ndcg_score", truth, likeness, k=10)),
    ]


def group_cases(data: str, expected: Sequence[str], predicted: Sequence[str]) -> list[Case]:
    """Return the comparisons of classes and of searches with several answers; the group of a text is its first word."""
    labels = groups([*expected, *predicted])
    truth, guess = labels[: len(expected)], labels[len(expected) :]
    grouped = (truth >= 0) & (guess >= 0)
    known = np.flatnonzero(
        [here and (truth[grouped] == group).sum() > 1 for here, group in zip(grouped, truth, strict=True)]
    )
    truth, guess = truth[known], guess[known]
    vectors = embeddings([expected[row] for row in known])
    return [*_retrieval_cases(data, vectors, truth), *_class_cases(data, vectors, truth, guess)]


def _retrieval_cases(data: str, vectors: NDArray[np.float64], truth: NDArray[np.intp]) -> list[Case]:
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    relevant = [[int(row) for row in np.flatnonzero(truth == group) if row != own] for own, group in enumerate(truth)]
    queries = ranks_from_scores([likeness], relevant)
    returned = [[int(item) for item in np.argsort(-row)] for row in likeness]
    return [
        _ranking_case("map@r", "CodeXGLUE POJ-104 run.py", data, queries, lambda tools: tools.map_at_r(vectors, truth)),
        Case(
            metric="precision at R", tool="CodeXGLUE POJ-104 evaluator", data=data, n_examples=len(queries),
            ours=lambda: float(np.mean([precision_at_r(query) for query in queries])),
            theirs=lambda tools: tools.precision_at_r(relevant, returned),
        ),
    ]  # fmt: skip


def _class_cases(
    data: str, vectors: NDArray[np.float64], truth: NDArray[np.intp], guess: NDArray[np.intp]
) -> list[Case]:
    expected, predicted = [str(group) for group in truth], [str(group) for group in guess]
    names = sorted({*expected, *predicted}, key=int)
    macro = {"average": "macro", "zero_division": 0}
    functions: dict[Metric, tuple[str, dict[str, Any]]] = {
        "f1": ("f1_score", macro),
        "precision": ("precision_score", macro),
        "recall": ("recall_score", macro),
        "accuracy": ("accuracy_score", {}),
        "mcc": ("matthews_corrcoef", {}),
    }
    made = [
        Case(
            metric=metric, tool="scikit-learn", data=data, n_examples=len(truth),
            ours=lambda metric=metric: measure([metric], expected, predicted, label_names=names)[metric],
            theirs=lambda _, call=call: _sklearn(call[0], expected, predicted, **call[1]),
        )
        for metric, call in functions.items()
    ]  # fmt: skip
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, 0)
    known = sorted(set(expected), key=int)
    best = np.stack([likeness[:, [group == name for group in expected]].max(axis=1) for name in known], axis=1)
    scores = best / best.sum(axis=1, keepdims=True)
    truths = np.array(expected)[:, None] == np.array(known)
    references: dict[Metric, Callable[[Evaluators], float]] = {
        "roc-auc": lambda _: _sklearn("roc_auc_score", truths, scores, average="macro"),
        "pr-auc": lambda _: _sklearn("average_precision_score", truths, scores, average="macro"),
        "top-5-accuracy": lambda _: _sklearn(
            "top_k_accuracy_score", truth, scores, k=5, labels=[int(n) for n in known]
        ),
    }
    return made + [
        Case(
            metric=metric, tool="scikit-learn", data=data, n_examples=len(truth), theirs=theirs,
            ours=lambda metric=metric: measure_scores([metric], expected, scores, known)[metric],
        )
        for metric, theirs in references.items()
    ]  # fmt: skip


def _ranking_case(
    metric: Metric, tool: str, data: str, queries: Sequence[QueryRanks], theirs: Callable[[Evaluators], float]
) -> Case:
    return Case(
        metric=metric, tool=tool, data=data, n_examples=len(queries), theirs=theirs,
        ours=lambda: measure_ranking([metric], queries)[metric],
    )  # fmt: skip


def _sacrebleu(pairs: Sequence[Pair], function: str, **options: Any) -> float:
    import sacrebleu

    texts, references = [pair.predicted for pair in pairs], [pair.reference for pair in pairs]
    return float(getattr(sacrebleu, function)(texts, [references], **options).score)


def _rouge_l(pairs: Sequence[Pair]) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    return float(np.mean([scorer.score(pair.reference, pair.predicted)["rougeL"].fmeasure for pair in pairs]))


def _meteor(pairs: Sequence[Pair]) -> float:
    from nltk.tokenize import word_tokenize
    from nltk.translate.meteor_score import meteor_score

    words = [[word_tokenize(text, preserve_line=True) for text in (pair.reference, pair.predicted)] for pair in pairs]
    return float(np.mean([meteor_score([truth], guess, wordnet=_thesaurus()) for truth, guess in words]))


@cache
def _thesaurus() -> Any:
    """Return a word list in which nothing has a synonym: WordNet would have to be downloaded."""
    return type("Thesaurus", (), {"synsets": staticmethod(lambda word: ())})()


def _sklearn(function: str, *arguments: Any, **options: Any) -> float:
    import sklearn.metrics

    return float(getattr(sklearn.metrics, function)(*arguments, **options))
