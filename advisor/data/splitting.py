"""Cutting one table into splits, taking a sample, and dropping training rows that are repeated elsewhere.

Who goes where is decided by a hash of the seed and the content of the row, never by its place: the same rows in another
order give the same splits (rows keep their order within a split). Equal inputs stay together, white space aside: one
split repeats nothing of another. So do rows of the same group, where a column to group by is given, and for retrieval
rows of the same query.

Without groups each label gets its share to within a few rows and every label is in the training split. With groups the
largest are placed first, each where it brings the labels closest to their shares. scikit-learn's splitters do not fit:
`StratifiedShuffleSplit` refuses labels with one row and more labels than test rows, and draws by the place of a row;
`StratifiedGroupKFold` cuts equal folds only.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from advisor.catalog.tasks import Task
from advisor.data.duplicates import Inputs, input_key, text_key
from advisor.data.examples import Example
from advisor.data.near_duplicates import mark_near
from advisor.errors import DataError, InputError, printable
from advisor.spec import Repetition
from advisor.trial import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Sizes of the splits in proportion to one another; `test` is None for a dataset that has a test split already."""

    train: float
    valid: float
    test: float | None

    def of(self, splits: Iterable[Split]) -> dict[Split, float]:
        """Return the shares of some splits, which add up to 1."""
        sizes: dict[Split, float] = {"train": self.train, "valid": self.valid, "test": self.test or 0.0}
        total = sum(sizes[split] for split in splits)
        return {split: sizes[split] / total for split in splits}


def parse_shares(text: str) -> Shares:
    """Read shares such as "80/10/10" (train, valid, test) or "90/10" (train, valid).

    Raises:
        InputError: These are not two or three numbers above 0.
    """
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 < number < float("inf") for number in numbers):
        raise InputError(
            f"--split {printable(text)}: give shares of train, valid and test such as 80/10/10, or 90/10 "
            "where a test split is there"
        )
    return Shares(train=numbers[0], valid=numbers[1], test=numbers[2] if len(numbers) == 3 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """Rows that stay together: their places and how many have which label."""

    rows: tuple[int, ...]
    labels: Mapping[str, int]
    order: bytes


def split_examples(
    examples: Sequence[Example], task: Task, shares: Mapping[Split, float], *, seed: int
) -> dict[Split, tuple[Example, ...]]:
    """Cut one table into splits; the module says how.

    Args:
        examples: All with a group, or none.
        task: Says what the labels are.
        shares: Of each split, adding up to 1; the first is the one that every label goes to.
        seed: Decides between equals.

    Raises:
        DataError: There are fewer rows or groups than splits.
    """
    grouped = examples[0].group is not None if examples else False
    units = _units(examples, task, seed)
    if len(units) < len(shares):
        what = "groups" if grouped else "rows with different inputs"
        raise DataError(f"--split: {len(units)} {what} cannot be cut into {len(shares)} splits")
    placed = _by_groups(units, shares) if grouped else _by_labels(units, shares)
    return {split: tuple(examples[row] for row in sorted(rows)) for split, rows in placed.items()}


def sample_examples(
    splits: Mapping[Split, Sequence[Example]], n: int, task: Task, *, seed: int
) -> dict[Split, tuple[Example, ...]]:
    """Keep `n` examples over all splits: every split in proportion to its size, every label to its number of rows.

    Raises:
        InputError: `n` is less than one for each split.
    """
    total = sum(map(len, splits.values()))
    if n < len(splits):
        raise InputError(f"--sample {n}: less than one example for each of the {len(splits)} splits")
    if n >= total:
        return {split: tuple(examples) for split, examples in splits.items()}
    sizes = {split: max(1, n * len(examples) // total) for split, examples in splits.items()}
    # What rounding left goes to the training split, the largest as a rule.
    first = next(iter(sizes))
    sizes[first] = min(len(splits[first]), sizes[first] + max(0, n - sum(sizes.values())))
    return {split: _sampled(examples, sizes[split], task, seed) for split, examples in splits.items()}


def drop_repeated(
    splits: Mapping[Split, Sequence[Example]], task: Task, repetition: Repetition
) -> dict[Split, tuple[Example, ...]]:
    """Drop training rows whose input stands in another split, or nearly so; other splits stay as they are."""
    kept = {split: tuple(examples) for split, examples in splits.items()}
    while True:
        inputs = Inputs.of(kept, task)
        others = {number for split, numbers in inputs.numbers.items() if split != "train" for number in numbers}
        if repetition == "near":
            marks = mark_near(
                [example.source for example in inputs.samples], [int(n in others) for n in range(len(inputs.samples))]
            )
            others |= {number for number, mark in enumerate(marks.near) if mark}
        rows = zip(kept["train"], inputs.numbers["train"], strict=True)
        train = tuple(example for example, number in rows if number not in others)
        # The search for near duplicates is a little blind where very many are alike: look again until nothing is left.
        if len(train) == len(kept["train"]):
            return kept
        kept["train"] = train


def _units(examples: Sequence[Example], task: Task, seed: int) -> list[_Unit]:
    """Return rows that stay together, in the order of their hashes."""
    rows: dict[bytes, list[int]] = {}
    for row, example in enumerate(examples):
        if example.group is not None:
            key = example.group.encode("utf-8", "surrogatepass")
        else:
            key = text_key(example.text) if task.form == "retrieval" else input_key(example, task)
        rows.setdefault(key, []).append(row)
    units = [
        _Unit(
            rows=tuple(together),
            labels=Counter(_stratum(examples[row], task) for row in together),
            order=blake2b(key, digest_size=16, salt=seed.to_bytes(16, "little")).digest(),
        )
        for key, together in rows.items()
    ]
    return sorted(units, key=lambda unit: unit.order)


def _stratum(example: Example, task: Task) -> str:
    return "" if task.form == "generation" else example.target


def _by_labels(units: Sequence[_Unit], shares: Mapping[Split, float]) -> dict[Split, list[int]]:
    """Go through the units label by label and give each to the split that lacks most of its share so far."""
    placed: dict[Split, list[int]] = {split: [] for split in shares}
    first = next(iter(shares))
    seen: set[str] = set()
    n_rows = 0
    # Of several labels (contradictory rows) the smallest stands for the unit.
    for place, unit in enumerate(sorted(units, key=lambda unit: (min(unit.labels), unit.order))):
        n_rows += len(unit.rows)
        split = max(shares, key=lambda split: shares[split] * n_rows - len(placed[split]))
        if min(unit.labels) not in seen:
            seen.add(min(unit.labels))
            split = first
        split = _or_empty(split, placed, len(units) - place)
        placed[split].extend(unit.rows)
    return placed


def _by_groups(units: Sequence[_Unit], shares: Mapping[Split, float]) -> dict[Split, list[int]]:
    """Place groups, the largest first, where the squared distance of all labels from their shares grows least."""
    totals: Counter[str] = Counter()
    for unit in units:
        totals.update(unit.labels)
    placed: dict[Split, list[int]] = {split: [] for split in shares}
    counts: dict[Split, Counter[str]] = {split: Counter() for split in shares}

    def growth(split: Split, labels: Mapping[str, int]) -> float:
        return sum(
            n * (2 * (counts[split][label] - shares[split] * totals[label]) + n) / totals[label]
            for label, n in labels.items()
        )

    for place, unit in enumerate(sorted(units, key=lambda unit: (-len(unit.rows), unit.order))):
        growths = {split: growth(split, unit.labels) for split in shares}
        split = _or_empty(min(growths, key=growths.__getitem__), placed, len(units) - place)
        placed[split].extend(unit.rows)
        counts[split].update(unit.labels)
    return placed


def _or_empty(split: Split, placed: Mapping[Split, Sequence[int]], n_left: int) -> Split:
    """Return an empty split in place of another one where there are only enough units left to fill the empty ones."""
    empty = [name for name, rows in placed.items() if not rows]
    return empty[0] if n_left <= len(empty) and split not in empty else split


def _sampled(examples: Sequence[Example], n: int, task: Task, seed: int) -> tuple[Example, ...]:
    """Keep `n` rows of one split: label by label, in the order of hashes, whenever the share so far is not reached."""
    keys = [
        blake2b(
            input_key(example, task) + text_key(example.target), digest_size=16, salt=seed.to_bytes(16, "little")
        ).digest()
        for example in examples
    ]
    order = sorted(range(len(examples)), key=lambda row: (_stratum(examples[row], task), keys[row]))
    kept = [row for place, row in enumerate(order) if (place + 1) * n // len(order) > place * n // len(order)]
    return tuple(examples[row] for row in sorted(kept))
