"""Splits made here share nothing, have their sizes and labels, and depend on seed and content alone."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.data.duplicates import input_key
from advisor.data.examples import Example
from advisor.data.splitting import Shares, drop_repeated, parse_shares, sample_examples, split_examples
from advisor.errors import DataError, InputError
from advisor.trial import Split
from tests.data.rows import CLONES, DEFECTS, SEARCH, SUMMARIES, pair, program, single

THIRDS: dict[Split, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}
# Texts of which some are equal but for white space; labels that need not agree; few groups.
ROWS = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from([" ", "\n", "  "]), st.sampled_from("abc"), st.integers(0, 12)),
    min_size=60,
    max_size=120,
)


def examples_of(rows: Sequence[tuple[int, str, str, int]], *, grouped: bool = False) -> tuple[Example, ...]:
    return tuple(
        single(f"f{space}{number}", label, example_id=str(row), group=str(group) if grouped else None)
        for row, (number, space, label, group) in enumerate(rows)
    )


def ids(split: Mapping[Split, Sequence[Example]]) -> dict[str, list[str]]:
    return {name: [example.example_id for example in rows] for name, rows in split.items()}


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 2**32 - 1), grouped=st.booleans())
def test_splits_are_disjoint_complete_and_keep_equal_rows_and_groups_together(
    rows: list[tuple[int, str, str, int]], seed: int, grouped: bool
) -> None:
    examples = examples_of(rows, grouped=grouped)
    if len({row[3] if grouped else row[0] for row in rows}) < 3:
        return
    made = split_examples(examples, DEFECTS, THIRDS, seed=seed)
    placed = [name for part in ids(made).values() for name in part]
    assert sorted(placed) == sorted(example.example_id for example in examples)
    assert all(made.values())
    keys = {
        split: {example.group if grouped else input_key(example, DEFECTS) for example in part}
        for split, part in made.items()
    }
    assert not keys["train"] & keys["valid"]
    assert not keys["train"] & keys["test"]
    assert not keys["valid"] & keys["test"]


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 100), order=st.randoms(use_true_random=False), grouped=st.booleans())
def test_the_order_of_the_rows_does_not_matter(
    rows: list[tuple[int, str, str, int]], seed: int, order: random.Random, grouped: bool
) -> None:
    examples = examples_of(rows, grouped=grouped)
    shuffled = list(examples)
    order.shuffle(shuffled)
    try:
        expected = split_examples(examples, DEFECTS, THIRDS, seed=seed)
    except DataError:
        return
    found = split_examples(shuffled, DEFECTS, THIRDS, seed=seed)
    assert {split: sorted(part) for split, part in ids(found).items()} == {
        split: sorted(part) for split, part in ids(expected).items()
    }


def test_sizes_and_labels_have_their_shares() -> None:
    examples = tuple(single(f"f {n}", "yes" if n % 4 == 0 else "no") for n in range(1000))
    made = split_examples(examples, DEFECTS, THIRDS, seed=0)
    assert {split: len(part) for split, part in made.items()} == {"train": 800, "valid": 100, "test": 100}
    for part in made.values():
        yes = sum(example.target == "yes" for example in part)
        assert abs(yes - len(part) / 4) <= 2


def test_rare_labels_are_in_the_training_split() -> None:
    examples = tuple(single(f"f {n}", f"c{n // 2}") for n in range(140))  # 70 labels with two rows each
    made = split_examples(examples, DEFECTS, THIRDS, seed=0)
    trained = {example.target for example in made["train"]}
    assert len(trained) == 70
    assert len(made["valid"]) + len(made["test"]) == pytest.approx(28, abs=2)


def test_groups_keep_the_labels_near_their_shares() -> None:
    rng = random.Random(0)
    examples = tuple(
        single(f"f {n}", "1" if rng.random() < 0.3 else "0", group=f"project {rng.randrange(60)}") for n in range(3000)
    )
    made = split_examples(examples, DEFECTS, THIRDS, seed=0)
    assert len(made["train"]) == pytest.approx(2400, rel=0.03)
    for part in made.values():
        assert Counter(example.target for example in part)["1"] / len(part) == pytest.approx(0.3, abs=0.05)


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    examples = tuple(single(f"f {n}") for n in range(100))
    first, again, other = (ids(split_examples(examples, DEFECTS, THIRDS, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_rows_of_one_query_stay_together() -> None:
    examples = tuple(pair(f"query {n // 5}", f"code {n}", "1") for n in range(100))
    made = split_examples(examples, SEARCH, THIRDS, seed=0)
    queries = [{example.text for example in part} for part in made.values()]
    assert sum(map(len, queries)) == 20


def test_fewer_groups_than_splits_are_refused() -> None:
    examples = tuple(single(f"f {n}", group=str(n % 2)) for n in range(10))
    with pytest.raises(DataError, match="2 groups cannot be cut into 3 splits"):
        split_examples(examples, DEFECTS, THIRDS, seed=0)
    with pytest.raises(DataError, match="1 rows with different inputs"):
        split_examples((single("f"), single("f ")), DEFECTS, THIRDS, seed=0)


@pytest.mark.parametrize("n", [3, 4])
def test_no_split_is_empty_where_there_are_enough_rows(n: int) -> None:
    for grouped in (None, "g"):
        examples = tuple(single(f"f {i}", str(i % 2), group=grouped and f"{grouped}{i}") for i in range(n))
        assert all(split_examples(examples, DEFECTS, THIRDS, seed=0).values())


def test_shares_are_two_or_three_numbers() -> None:
    assert parse_shares("80/10/10") == Shares(train=80, valid=10, test=10)
    assert parse_shares("9/1").of(("train", "valid")) == {"train": 0.9, "valid": 0.1}
    assert parse_shares("8/1/1").of(("train", "valid")) == {"train": 8 / 9, "valid": 1 / 9}
    for wrong in ("80", "80/20/0", "a/b/c", "1/2/3/4", "-1/2", "", "1/inf"):
        with pytest.raises(InputError, match="give shares"):
            parse_shares(wrong)


def test_a_sample_has_the_asked_size_and_the_labels_of_the_whole() -> None:
    splits: dict[Split, tuple[Example, ...]] = {
        "train": tuple(single(f"f {n}", "1" if n % 5 == 0 else "0") for n in range(800)),
        "valid": tuple(single(f"g {n}", "1" if n % 5 == 0 else "0") for n in range(100)),
        "test": tuple(single(f"h {n}", "1" if n % 5 == 0 else "0") for n in range(100)),
    }
    made = sample_examples(splits, 200, DEFECTS, seed=0)
    assert {split: len(part) for split, part in made.items()} == {"train": 160, "valid": 20, "test": 20}
    assert Counter(example.target for example in made["train"]) == {"0": 128, "1": 32}
    assert made == sample_examples(splits, 200, DEFECTS, seed=0)
    assert made != sample_examples(splits, 200, DEFECTS, seed=1)
    assert sample_examples(splits, 5000, DEFECTS, seed=0) == splits
    assert sum(map(len, sample_examples(splits, 7, DEFECTS, seed=0).values())) == 7
    with pytest.raises(InputError, match="--sample 2: less than one example for each of the 3 splits"):
        sample_examples(splits, 2, DEFECTS, seed=0)


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, cut=st.integers(1, 50))
def test_dropping_repeated_rows_leaves_no_overlap_and_does_nothing_the_second_time(
    rows: list[tuple[int, str, str, int]], cut: int
) -> None:
    examples = examples_of(rows)
    splits: dict[Split, tuple[Example, ...]] = {"train": examples[cut:], "test": examples[:cut]}
    kept = drop_repeated(splits, DEFECTS, "exact")
    tested = {input_key(example, DEFECTS) for example in splits["test"]}
    assert kept["test"] == splits["test"]
    assert kept["train"] == tuple(row for row in splits["train"] if input_key(row, DEFECTS) not in tested)
    assert drop_repeated(kept, DEFECTS, "exact") == kept


def test_near_duplicates_are_dropped_only_on_demand() -> None:
    splits: dict[Split, tuple[Example, ...]] = {
        "train": (single(program("first")), single(program("other", 60).upper()), single("short")),
        "valid": (single(program("second")),),
    }
    assert drop_repeated(splits, SUMMARIES, "exact") == splits
    assert drop_repeated(splits, SUMMARIES, "near")["train"] == splits["train"][1:]


def test_the_order_of_a_clone_pair_does_not_save_it() -> None:
    splits: dict[Split, tuple[Example, ...]] = {"train": (pair("a", "b"), pair("c", "d")), "test": (pair("b", "a "),)}
    assert drop_repeated(splits, CLONES, "exact")["train"] == (pair("c", "d"),)
