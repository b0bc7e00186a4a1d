"""Options and the arguments of the functions behind them: the same names, but for the differences named here."""

from collections.abc import Callable
from dataclasses import fields
from inspect import signature

import click
import pytest

import advisor
from advisor.spec import Budget, CodeTask
from tests.cli.test_json import found_command

# How a value is shown is the command's own affair; the functions return it.
SHOWN = {"--json", "--output", "--explain", "--examples", "--price-per-hour"}

# Option -> argument, where the names differ, and why they do.
DIFFERENCES: dict[str, dict[str, str]] = {
    "recommend": {
        "--vram": "vram_gib",  # units stand in the names of numbers
        "--time": "time_s",
        "--model": "base_model",  # "model" alone is a base model on the command line
        "--hub-config": "base_model",  # a folder is a base model too
        "--data": "n_rows",  # with source_tokens and target_tokens: what is read from the file
        "--map": "n_rows",  # of --data
    },
    "estimate": {
        "--vram": "vram_gib",
        "--set": "hyperparameters",  # many options against one mapping
        "--labels": "n_labels",  # counts begin with n_
        "--pack": "pack_size",
        "--drop-outputs": "holds_outputs",  # a flag can only be switched on, so it says the contrary
        "--evaluate": "eval_batch_size",
        "--max": "largest",  # `max` is Python's own
    },
    "tune": {
        "--model": "base_model",
        "--quantization": "quantizations",  # an option is repeated, an argument has several
        "--method": "methods",
        "--objective": "objectives",
        "--on-adapter": "on_adapters",
        "--trials": "n_trials",
        "--time": "time_limit_s",
        "--map": "columns",  # many options against one mapping
    },
    "predict": {"--map": "columns"},
}
# Options of `tune` that make something before tuning begins; `--output` is an argument there, and of `predict`.
WITHOUT_ARGUMENT = {"tune": {"--demo"}}


def arguments_of(name: str) -> set[str]:
    if name == "recommend":  # one record, which `tune` and a service can keep
        return {field.name for cls in (CodeTask, Budget) for field in fields(cls)} - {"budget"}
    function: Callable[..., object] = getattr(advisor, name)
    return set(signature(function).parameters)


def options_of(name: str) -> dict[str, str]:
    """Return the options and arguments of a command with the argument that each stands for by its name."""
    found = {}
    for one in found_command((name,)).params:
        known = DIFFERENCES[name]
        options = [option for option in one.opts if option.startswith("--")] or [str(one.name)]
        same = {option: option.removeprefix("--").replace("-", "_") for option in options}
        if is_shown(name, options[0]):
            continue
        found[options[0]] = next((known[option] for option in options if option in known), same[options[-1]])
    return found


def is_shown(name: str, option: str) -> bool:
    written = option == "--output" and name in ("tune", "predict")
    return (option in SHOWN and not written) or option in WITHOUT_ARGUMENT.get(name, ())


@pytest.mark.parametrize("name", list(DIFFERENCES))
def test_every_option_is_an_argument_of_the_same_name_or_of_one_that_is_named_here(name):
    lacking = {option: argument for option, argument in options_of(name).items() if argument not in arguments_of(name)}
    assert lacking == {}


@pytest.mark.parametrize("name", list(DIFFERENCES))
def test_every_argument_can_be_given_on_the_command_line(name):
    more = {"recommend": {"source_tokens", "target_tokens"}}  # --data measures them with n_rows
    assert arguments_of(name) - set(options_of(name).values()) - more.get(name, set()) == set()


@pytest.mark.parametrize("name", list(DIFFERENCES))
def test_no_difference_is_named_that_is_none(name):
    options = {option for one in found_command((name,)).params if isinstance(one, click.Option) for option in one.opts}
    assert set(DIFFERENCES[name]) <= options
    for option, argument in DIFFERENCES[name].items():
        assert argument in arguments_of(name)
        assert option.removeprefix("--").replace("-", "_") not in arguments_of(name)


@pytest.mark.parametrize("name", ["estimate", "tune", "predict"])
def test_every_argument_is_explained(name):
    function = getattr(advisor, name)
    explained = function.__doc__.partition("Args:")[2].partition("Returns:")[0]
    assert [one for one in signature(function).parameters if f"\n        {one}: " not in explained] == []


def test_every_field_of_a_code_task_is_explained():
    for cls in (CodeTask, Budget):
        assert [field.name for field in fields(cls) if f"\n        {field.name}: " not in (cls.__doc__ or "")] == []
