"""Checks across splits."""

import pytest

from advisor.errors import DataError
from advisor.training.examples import Example, ExampleFile, label_names, read_examples
from advisor.training.splits import check_splits
from advisor.trial import Split
from tests.training.test_examples import DEFECTS, SHARED, needs_shared
from tests.training.toy import CLONES, SUMMARIES

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def file(*rows: tuple[str, str], pair: bool = False) -> ExampleFile:
    """A file of (text, target) rows; with `pair` the text is split at "|"."""
    examples = []
    for number, (text, target) in enumerate(rows):
        first, _, second = text.partition("|")
        examples.append(Example(example_id=str(number), text=first, text_pair=second if pair else None, target=target))
    counts = {name: sum(item.target == name for item in examples) for name in label_names(examples)}
    return ExampleFile(path="file", sha256="", examples=tuple(examples), label_counts=counts, warnings=())


@needs_shared
def test_a_dataset_with_one_class_is_refused() -> None:
    folder = SHARED / "15-one-class"
    with pytest.raises(DataError, match=r"train\.jsonl: every label is '1': there is nothing to learn"):
        check_splits({split: read_examples(folder / f"{split}.jsonl", DEFECTS) for split in SPLITS}, DEFECTS)


@needs_shared
def test_rows_that_stand_in_two_splits_are_counted() -> None:
    folder = SHARED / "17-leakage"
    (warning,) = check_splits({split: read_examples(folder / f"{split}.jsonl", DEFECTS) for split in SPLITS}, DEFECTS)
    assert warning.startswith("11 of 13 test rows stand in the train split too")
    assert "1 of them with another label" in warning


def test_labels_that_training_never_saw_are_refused() -> None:
    train, valid = file(("a", "x"), ("b", "y")), file(("c", "x"), ("d", "z"))
    with pytest.raises(DataError, match=r"label 'z' of the valid split .* \('x', 'y'\)"):
        check_splits({"train": train, "valid": valid}, DEFECTS)


def test_white_space_and_the_order_of_a_pair_do_not_make_a_row_new() -> None:
    train = file(("int f|int g", "1"), ("a|b", "0"), pair=True)
    valid = file(("int  g|int\nf", "1"), ("c|d", "0"), pair=True)
    (warning,) = check_splits({"train": train, "valid": valid}, CLONES)
    assert warning.startswith("1 of 2 valid rows stand in the train split too")


def test_clean_splits_have_no_warnings_and_targets_are_free_in_generation() -> None:
    data = {"train": file(("a", "x")), "valid": file(("b", "y")), "test": file(("c", "z"))}
    assert check_splits(data, SUMMARIES) == ()


def test_warnings_of_the_files_come_first() -> None:
    train = file(("a", "x"), ("b", "y"))
    noisy = ExampleFile(
        path="file", sha256="", examples=train.examples, label_counts=train.label_counts, warnings=("said before",)
    )
    warnings = check_splits({"train": noisy, "valid": train}, DEFECTS)
    assert warnings[0] == "said before"
    assert len(warnings) == 2
