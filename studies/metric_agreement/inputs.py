"""The committed inputs: references and predictions that are real text and real code, made once from the demo data.

`python -m studies.metric_agreement.inputs` writes them again. Summaries are predicted as a nearest-neighbour baseline
does it, by the summary of the function that shares most words; functions by the other side of their clone pair. Some
predictions are perfect, some shortened, some empty, so that every branch of a metric is met.
"""

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "inputs"
# Packages under the three-clause BSD licence, so that lines of theirs may stand here.
PACKAGES = ("jinja2", "joblib", "networkx", "pandas", "scipy", "sklearn", "sympy")
# Of each split: some summaries drop out where classes are compared, because no other begins with the same word.
N_SUMMARIES, N_FUNCTIONS = 120, 80
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A reference and a prediction."""

    reference: str
    predicted: str


def read_pairs(path: Path) -> list[Pair]:
    """Read a file that `main` wrote."""
    return [Pair(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def embeddings(texts: Sequence[str]) -> NDArray[np.float64]:
    """Count the words of each text, shape (texts, words); a little noise breaks ties of their products."""
    words = sorted({word for text in texts for word in _WORD.findall(text.lower())})
    number = {word: position for position, word in enumerate(words)}
    counts = np.random.default_rng(0).random((len(texts), len(words))) * 1e-3
    for row, text in enumerate(texts):
        for word in _WORD.findall(text.lower()):
            counts[row, number[word]] += 1
    return counts


def groups(texts: Sequence[str]) -> NDArray[np.intp]:
    """Return a group for each text, by its first word, which says what a function does; -1 where it is alone."""
    firsts = [(_WORD.findall(text.lower()) or [""])[0] for text in texts]
    names = sorted({first for first in firsts if firsts.count(first) > 1})
    return np.array([names.index(first) if first in names else -1 for first in firsts])


def main() -> None:
    """Write the inputs."""
    import sysconfig

    from advisor.demo import write_dataset

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        packages = Path(folder) / "packages"
        packages.mkdir()
        for name in PACKAGES:
            (packages / name).symlink_to(Path(sysconfig.get_paths()["purelib"]) / name)
        summaries, clones = Path(folder) / "summaries", Path(folder) / "clones"
        for task, to, n in (("code-summarization", summaries, N_SUMMARIES), ("clone-detection", clones, N_FUNCTIONS)):
            write_dataset(task, to, n_train=n, n_valid=n, n_test=n, source=packages)
        _write("summaries", nearest(_rows(summaries)))
        _write("functions", damaged([Pair(reference=row["code1"], predicted=row["code2"]) for row in _rows(clones)]))


def _rows(folder: Path) -> list[dict[str, str]]:
    files = [folder / f"{split}.jsonl" for split in ("train", "valid", "test")]
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def nearest(rows: Sequence[dict[str, str]]) -> list[Pair]:
    """Predict the target of each row by that of the row whose source shares most words; then damage some."""
    counts = embeddings([row["source"] for row in rows])
    counts /= np.linalg.norm(counts, axis=1, keepdims=True)
    likeness = counts @ counts.T
    np.fill_diagonal(likeness, -1)
    found = zip(rows, likeness.argmax(1), strict=True)
    return damaged([Pair(reference=row["target"], predicted=rows[int(other)]["target"]) for row, other in found])


def damaged(pairs: Sequence[Pair]) -> list[Pair]:
    """Make a tenth of the predictions perfect, three tenths a shortened reference, and a few empty."""
    rng = Random(0)
    made = []
    for number, pair in enumerate(pairs):
        predicted = pair.predicted
        if number % 10 == 0:
            predicted = pair.reference
        elif number % 10 < 4:  # the reference with a fifth of its words gone
            predicted = "".join(part for part in re.split(r"(?<= )", pair.reference) if rng.random() > 0.2)
        elif number % 60 == 7:
            predicted = ""
        made.append(Pair(reference=pair.reference, predicted=predicted))
    return made


def _write(name: str, pairs: Sequence[Pair]) -> None:
    path = FOLDER / f"{name}.jsonl"
    lines = [json.dumps(asdict(pair), ensure_ascii=False) for pair in pairs]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {len(lines)} pairs, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
