"""Lists for people have words for every setting of every method."""

import re

import pytest

from advisor.candidates import Candidate
from advisor.catalog.methods import METHODS
from advisor.report.setting_names import setting_title
from advisor.report.tables import configuration


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda one: one.slug)
def test_every_setting_of_a_method_has_words_and_no_two_have_the_same(method):
    names = dict.fromkeys((*method.defaults, *(dimension.name for dimension in method.dimensions)))
    titles = [setting_title(name) for name in names]
    # A capital, then words: an underscore, or a capital amid a word, is the name of a field.
    assert all(re.match(r"[A-Z][a-z]", title) and "_" not in title for title in titles)
    assert len(set(titles)) == len(titles)


def test_known_settings_are_called_as_people_call_them():
    titles = {name: setting_title(name) for name in ("r", "lora_alpha", "num_epochs", "lr_scheduler_type", "u")}
    assert titles == {
        "r": "Rank", "lora_alpha": "Alpha", "num_epochs": "Epochs",
        "lr_scheduler_type": "Schedule of the learning rate",
        "u": "Numbers that are trained in a group",
    }  # fmt: skip


def test_a_setting_that_nobody_knows_is_its_name_with_spaces():
    assert setting_title("of_the_future") == "Of the future"
    assert setting_title("") == ""
    assert setting_title("<b>_x") == "<b> x"  # whoever lays it out escapes it


def test_a_configuration_is_told_in_words_with_the_values_as_they_are():
    told = configuration(
        Candidate(
            base_model="some/base", architecture="decoder-only", method="lora",
            hyperparameters={"r": 8, "target_modules": "all-linear", "learning_rate": 0.00011352},
            batch_size=16, max_seq_length=128,
        )
    )  # fmt: skip
    assert [(fact.name, fact.value) for fact in told] == [
        ("Base model", "some/base"), ("Method", "lora"), ("Rank", "8"), ("Target modules", "all-linear"),
        ("Learning rate", "0.00011352"), ("Batch size", "16"), ("Longest input", "128 tokens"), ("Precision", "fp32"),
    ]  # fmt: skip
