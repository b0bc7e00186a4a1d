"""Checks across the splits of one dataset: labels that training never saw, examples that stand in two splits."""

from collections.abc import Iterator, Mapping

from advisor.catalog.tasks import Task
from advisor.errors import DataError, printable
from advisor.training.examples import Example, ExampleFile
from advisor.trial import Split

# (split that should be new, split that it must not repeat)
_COMPARED: tuple[tuple[Split, Split], ...] = (("test", "train"), ("valid", "train"), ("test", "valid"))


def check_splits(files: Mapping[Split, ExampleFile], task: Task) -> tuple[str, ...]:
    """Check the splits against one another.

    Args:
        files: "train" and "valid", and "test" if there is one.
        task: What they are examples of.

    Returns:
        Warnings, one line each: those of the files themselves and overlaps between splits. Two examples are
        the same when their inputs agree but for white space (and, for a pair, but for the order of the two).

    Raises:
        DataError: Only one class to learn, or a label that the training split does not have.
    """
    if task.form != "generation":
        _check_labels(files)
    warnings = [line for file in files.values() for line in file.warnings]
    warnings.extend(_overlaps(files, labelled=task.form != "generation"))
    return tuple(warnings)


def _check_labels(files: Mapping[Split, ExampleFile]) -> None:
    train = files["train"]
    known = train.label_counts
    if len(known) < 2:
        raise DataError(f"{train.path}: every label is {printable(next(iter(known)))}: there is nothing to learn")
    for split, file in files.items():
        unseen = [name for name in file.label_counts if name not in known]
        if unseen:
            names = ", ".join(printable(name, 30) for name in unseen[:5])
            trained = ", ".join(printable(name, 30) for name in list(known)[:5])
            raise DataError(
                f"{file.path}: label {names} of the {split} split is not among the labels of the train split"
                f" ({trained}{', ...' if len(known) > 5 else ''})"
            )


def _overlaps(files: Mapping[Split, ExampleFile], *, labelled: bool) -> Iterator[str]:
    keys = {split: [_key(example) for example in file.examples] for split, file in files.items()}
    for split, against in _COMPARED:
        if split not in files or against not in files:
            continue
        targets: dict[tuple[str, ...], set[str]] = {}
        for key, example in zip(keys[against], files[against].examples, strict=True):
            targets.setdefault(key, set()).add(example.target)
        rows = list(zip(keys[split], files[split].examples, strict=True))
        repeated = [(key, example) for key, example in rows if key in targets]
        if not repeated:
            continue
        other = sum(example.target not in targets[key] for key, example in repeated) if labelled else 0
        with_other = f", {other} of them with another label" if other else ""
        yield (
            f"{len(repeated)} of {len(rows)} {split} rows stand in the {against} split too (white space"
            f" aside){with_other}: scores on {split} look better than they are"
        )


def _key(example: Example) -> tuple[str, ...]:
    texts = [example.text] if example.text_pair is None else [example.text, example.text_pair]
    return tuple(sorted("".join(text.split()) for text in texts))
