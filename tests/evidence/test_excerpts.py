"""Numbers are found in excerpts as papers write them."""

import pytest

from advisor.evidence.excerpts import holds
from advisor.evidence.rows import read_evidence


@pytest.mark.parametrize(
    ("excerpt", "number"),
    [
        ("learning rate of 1e-4", 1e-4),
        ("lr = 3E-05, batch 8", 3e-5),
        ("we use 10^-4", 1e-4),
        ("$3 \\times 10^{-4}$ for all", 3e-4),
        ("2 \u00d7 10^\u22125", 2e-5),
        ("LoRA & 1,310,720 & 0.96", 1310720),
        ("dropout .05", 0.05),
        ("solves 47.2 % of them", 0.472),
        ("F1 of 0.931", 93.1),
        ("ranks 4,8,16 were tried", 8),
        ("a drop of -2.5 points", 2.5),
    ],
)
def test_a_number_in_a_usual_form_is_found(excerpt, number):
    assert holds(excerpt, number)


@pytest.mark.parametrize(
    ("excerpt", "number"),
    [
        ("learning rate of 1e-4", 1e-3),
        ("r16 was best", 1.6),
        ("CodeT5 and GPT-4", 5),
        ("version 2.13.0", 13),
        ("", 1.0),
    ],
)
def test_a_number_that_is_not_there_is_not_found(excerpt, number):
    assert not holds(excerpt, number)


def test_a_rate_is_not_found_in_its_hundredfold():
    assert holds("pass@1 0.03", 3e-4)
    assert not holds("pass@1 0.03", 3e-4, as_percentage=False)
    assert holds("lr 3e-4", 3e-4, as_percentage=False)


def test_every_published_value_stands_in_its_excerpt():
    missing = [row.id for row in read_evidence() if row.value is not None and not holds(row.source.excerpt, row.value)]
    assert not missing
