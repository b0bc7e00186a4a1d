"""Checks of repetitions: rows that stand twice in a split, and rows that stand in two splits, exactly or nearly."""

from collections.abc import Iterator, Mapping, Sequence

from advisor.catalog.tasks import Task
from advisor.data.duplicates import COMPARED, Inputs, answers_by_input, known_pairs
from advisor.data.examples import Example
from advisor.data.findings import Finding, Overlap, SplitFacts, places_of
from advisor.data.near_duplicates import NearMarks, mark_near
from advisor.trial import Split

SPLIT_BITS: dict[Split, int] = {"train": 1, "valid": 2, "test": 4}


def near_marks(inputs: Inputs) -> NearMarks:
    """Look for near duplicates among the inputs of all splits."""
    marks = [0] * len(inputs.samples)
    for split, numbers in inputs.numbers.items():
        for number in numbers:
            marks[number] |= SPLIT_BITS[split]
    return mark_near([example.source for example in inputs.samples], marks)


def near_rows(split: Split, against: Split, inputs: Inputs, near: NearMarks) -> list[int]:
    """Return rows that have no twin in another split, but a near duplicate; or, in one split, an earlier one."""
    if split == against:
        found, seen = [], set()
        for row, number in enumerate(inputs.numbers[split]):
            if near.near_earlier[number] & SPLIT_BITS[split] and number not in seen:
                found.append(row)
            seen.add(number)
        return found
    twins = set(inputs.numbers[against])
    rows = enumerate(inputs.numbers[split])
    return [row for row, number in rows if near.near[number] & SPLIT_BITS[against] and number not in twins]


def overlap_of(
    pair: tuple[Split, Split],
    examples: Mapping[Split, Sequence[Example]],
    inputs: Inputs,
    near: NearMarks | None,
    task: Task,
) -> Overlap:
    """Count what the first split of a pair shares with the second.

    Args:
        pair: The split that should be new, and the one that it should not repeat.
        examples: By split.
        inputs: Of all splits.
        near: None where near duplicates were not looked for.
        task: Says what labels are.
    """
    split, against = pair
    shared = inputs.shared(split, against)
    n_other = 0
    if task.form != "generation":
        answers = answers_by_input(inputs.numbers[against], examples[against])
        n_other = sum(examples[split][row].target not in answers[inputs.numbers[split][row]] for row in shared)
    return Overlap(
        split=split,
        against=against,
        n_exact=len(shared),
        n_other_label=n_other,
        n_near=None if near is None else len(near_rows(split, against, inputs, near)),
        n_both_known=len(known_pairs(examples[split], examples[against])) if task.form == "pair" else None,
    )


def repetition_findings(
    examples: Mapping[Split, Sequence[Example]], inputs: Inputs, splits: Mapping[Split, SplitFacts]
) -> Iterator[Finding]:
    """Yield what is repeated within each split."""
    for split, facts in splits.items():
        rows = [examples[split][row] for row in inputs.repeated(split)]
        if rows:
            yield Finding(
                severity="note",
                check="repeated",
                message=f"{len(rows)} of {facts.n_examples} {split} rows repeat the input of an earlier {split} row "
                "(white space aside)",
                count=len(rows),
                places=places_of(split, rows),
            )
        if facts.n_near:
            yield Finding(
                severity="note",
                check="near-repeated",
                message=f"{facts.n_near} of {facts.n_examples} {split} rows are near duplicates of an earlier one",
                count=facts.n_near,
            )


def overlap_findings(
    overlap: Overlap, examples: Mapping[Split, Sequence[Example]], inputs: Inputs, near: NearMarks | None
) -> Iterator[Finding]:
    """Yield what two splits share."""
    split, against = next(pair for pair in COMPARED if pair == (overlap.split, overlap.against))
    n_rows = len(examples[split])
    if overlap.n_exact:
        rows = [examples[split][row] for row in inputs.shared(split, against)]
        other = f", {overlap.n_other_label} of them with another label" if overlap.n_other_label else ""
        yield Finding(
            severity="warning",
            check="overlap",
            message=f"{overlap.n_exact} of {n_rows} {split} rows stand in the {against} split too (white space"
            f" aside){other}: scores on {split} look better than they are",
            count=overlap.n_exact,
            places=places_of(split, rows),
        )
    if overlap.n_near and near is not None:
        rows = [examples[split][row] for row in near_rows(split, against, inputs, near)]
        yield Finding(
            severity="warning",
            check="near-overlap",
            message=f"{overlap.n_near} more of {n_rows} {split} rows are near duplicates of {against} rows: scores on"
            f" {split} look better than they are",
            count=overlap.n_near,
            places=places_of(split, rows),
        )
    if overlap.n_both_known:
        yield Finding(
            severity="warning" if 2 * overlap.n_both_known > n_rows else "note",
            check="known-pair",
            message=f"{overlap.n_both_known} of {n_rows} {split} pairs have both texts among those of the {against}"
            f" split, paired in the same way or another",
            count=overlap.n_both_known,
        )


def group_findings(examples: Mapping[Split, Sequence[Example]]) -> Iterator[Finding]:
    """Yield groups (of the column to group by) that stand in two splits."""
    for split, against in COMPARED:
        if split not in examples or against not in examples:
            continue
        known = {row.group for row in examples[against] if row.group is not None}
        groups = {row.group for row in examples[split] if row.group is not None}
        rows = [row for row in examples[split] if row.group in known]
        if rows:
            yield Finding(
                severity="warning",
                check="group",
                message=f"{len(groups & known)} of {len(groups)} groups of the {split} split stand in the"
                f" {against} split too ({len(rows)} of {len(examples[split])} rows)",
                count=len(rows),
                places=places_of(split, rows),
            )
