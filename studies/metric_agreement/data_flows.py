"""What the package `codebleu` says of each pair, in a process whose `PYTHONHASHSEED` decides the order of names.

    PYTHONHASHSEED=3 python -m studies.metric_agreement.data_flows python < pairs.jsonl

prints its four parts for all pairs together and the share of data flows found for each, null where a reference has
none.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from advisor.metrics.codebleu import LANGUAGES, CodeBleu, codebleu_parts
from studies.metric_agreement.inputs import Pair

N_HASH_SEEDS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """The package's answers.

    Attributes:
        parts: N-grams, weighted n-grams, syntax, data flow, of all pairs together.
        of_pairs: Share of data flows found in each pair, None where there are none.
    """

    parts: tuple[float, ...]
    of_pairs: tuple[float | None, ...]


def package_flows(pairs: Sequence[Pair], language: str) -> list[Flows]:
    """Ask the package once for each of `N_HASH_SEEDS` orders."""
    lines = "".join(json.dumps(asdict(pair)) + "\n" for pair in pairs)
    found = []
    for seed in range(N_HASH_SEEDS):
        done = subprocess.run(
            [sys.executable, "-m", "studies.metric_agreement.data_flows", language],
            input=lines, env={**os.environ, "PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        plain = json.loads(done.stdout)
        found.append(Flows(parts=tuple(plain["parts"]), of_pairs=tuple(plain["of_pairs"])))
    return found


def repeatable(flows: Sequence[Flows]) -> list[float | None]:
    """Return the share of data flows of the pairs for which it is the same in all orders, else None."""
    by_pair = zip(*(one.of_pairs for one in flows), strict=True)
    return [values[0] if len(set(values)) == 1 else None for values in by_pair]


def our_parts(pairs: Sequence[Pair], language: str) -> tuple[list[float], list[float | None]]:
    """Return our four parts of all pairs together, and our share of data flows in each."""
    rows = CodeBleu(language).rows([pair.reference for pair in pairs], [pair.predicted for pair in pairs])
    parts = codebleu_parts(rows.sum(axis=0, keepdims=True))
    return [float(value[0]) for value in parts.values()], [
        float(found / in_all) if in_all else None for found, in_all in rows[:, 20:22]
    ]


def main() -> None:
    """Print what the package says."""
    from codebleu import calc_codebleu
    from codebleu.dataflow_match import corpus_dataflow_match

    logging.disable()
    language = LANGUAGES[sys.argv[1]]
    pairs = [Pair(**json.loads(line)) for line in sys.stdin]
    references, predictions = [pair.reference.strip() for pair in pairs], [pair.predicted.strip() for pair in pairs]
    told = calc_codebleu(references, predictions, language)
    of_pairs: list[float | None] = []
    for reference, predicted in zip(references, predictions, strict=True):
        of_itself = corpus_dataflow_match([[reference]], [reference], language)
        of_pairs.append(float(corpus_dataflow_match([[reference]], [predicted], language)) if of_itself else None)
    parts = [told[name] for name in told if name != "codebleu"]
    print(json.dumps({"parts": [float(np.float64(part)) for part in parts], "of_pairs": of_pairs}))


if __name__ == "__main__":
    main()
