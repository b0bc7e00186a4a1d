"""Code search without a model: what a neural search has to beat is the search for the query's own words.

Query and code are compared by the cosine of their TF-IDF vectors (Salton and Buckley 1988,
doi:10.1016/0306-4573(88)90021-0) with logarithmic term frequencies. Words are the parts of identifiers too:
`parse_json` and `parseJson` hold "parse" and "json". Word weights are those of the code that is searched.
"""

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from advisor.catalog.tasks import Task
from advisor.data.dataset import Code
from advisor.data.examples import Example
from advisor.metrics.retrieval import ranks_from_scores
from advisor.training.answers import measure_answers, ranks_text
from advisor.training.predictions import predictions_of, shown, write_predictions
from advisor.training.searches import Search, search_of
from advisor.trial import Evaluation

_NAME = re.compile(r"[^\W_]+")
# Where a name is cut: before a capital, before the last capital of an acronym, and around numbers.
_CUT = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=\D)|(?<=\D)(?=\d)")
_MOST_SCORES = 2**24  # in memory at once


def lexical_search(
    task: Task, evaluated: Sequence[Example], *, codebase: Sequence[Code] = (), predictions: Path | None = None
) -> Evaluation:
    """Evaluate the search for words on a split.

    Args:
        task: Code search.
        evaluated: All rows of the split.
        codebase: Of the dataset, as for `DeviceRunner`.
        predictions: File to write as `TrialRunner.evaluate` does, or None.

    Raises:
        DataError: No row of the split is an answer.
    """
    began_s = time.perf_counter()
    search = search_of(evaluated, codebase)
    predicted = [ranks_text(query.ranks) for query in ranks_from_scores(_scores(search), search.relevant)]
    expected = search.expected
    made = predictions_of(search.queries, predicted, expected=expected)
    if predictions is not None:
        write_predictions(made, predictions)
    return Evaluation(
        metrics=measure_answers(task, task.metrics, expected, predicted),
        n_examples=len(search.queries),
        duration_s=time.perf_counter() - began_s,
        predictions=shown(made),
    )


def words_of(text: str) -> list[str]:
    """Return the words of a text, and those within its identifiers, in lower case."""
    return [word.lower() for name in _NAME.findall(text) for word in _CUT.split(name)]


def _scores(search: Search) -> Iterator[NDArray[np.float32]]:
    """Yield the cosine of some queries after the others with all code, shape (queries, codes)."""
    vectorizer = TfidfVectorizer(analyzer=words_of, sublinear_tf=True, dtype=np.float32)
    # The last text lets a vocabulary be made where no code has a word; it is not searched.
    index = vectorizer.fit_transform([*(code.text for code in search.codes), "code"])[:-1].T.tocsr()
    queries = vectorizer.transform([query.text for query in search.queries])
    step = max(1, _MOST_SCORES // len(search.codes))
    for first in range(0, len(search.queries), step):
        yield (queries[first : first + step] @ index).toarray()
