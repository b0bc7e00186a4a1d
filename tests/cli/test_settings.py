"""Values given as NAME=VALUE."""

import pytest

from advisor.cli.settings import parse_settings
from advisor.errors import InputError


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("r=16", 16),
        ("lora_dropout=0.1", 0.1),
        ("learning_rate=1e-3", 0.001),
        ("use_dora=true", True),
        ("use_dora=True", True),
        ("bias=None", None),
        ("bias=null", None),
        ("target_modules=all-linear", "all-linear"),
        ("target_modules=q_proj,v_proj", ["q_proj", "v_proj"]),
        ("target_modules=q_proj, v_proj,", ["q_proj", "v_proj"]),
        ("layers_to_transform=0,1", [0, 1]),
        ('target_modules=["q_proj"]', ["q_proj"]),
        ('rank_pattern={"q_proj": 4}', {"q_proj": 4}),
        ("init_lora_weights=", ""),
        ("layers_pattern=a=b", "a=b"),
    ],
)
def test_a_value_is_json_or_a_list_of_words_or_text(setting, value):
    assert parse_settings([setting]) == {setting.partition("=")[0]: value}


def test_blanks_around_name_and_value_do_not_count():
    assert parse_settings([" r = 16 "]) == {"r": 16}


@pytest.mark.parametrize(
    ("settings", "said"),
    [(["foo"], "NAME=VALUE"), (["=1"], "NAME=VALUE"), ([" =1"], "NAME=VALUE"), (["r=1", "r = 2"], "given twice")],
)
def test_what_is_no_setting_is_refused(settings, said):
    with pytest.raises(InputError, match=said):
        parse_settings(settings)


def test_a_message_never_repeats_control_characters():
    with pytest.raises(InputError) as caught:
        parse_settings(["\x1b[31mred"])
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("number", ["nan", "NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_text(number):
    assert parse_settings([f"r={number}"]) == {"r": number}
