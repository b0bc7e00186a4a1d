"""Where the model that a user names is looked for; the hub's client is replaced."""

import json

import huggingface_hub
import pytest
from huggingface_hub import constants

from advisor.dryrun.sources import find_source
from advisor.errors import DataError, UnknownNameError
from tests.model_folders import config_folder


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A cache of the hub with one model in it, and no network."""
    folder = config_folder(tmp_path / "cache", "llama")

    def look_up(name: str, file: str) -> str | None:
        return str(folder / file) if name == "someone/some-llama" else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look_up)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def test_a_model_of_the_hub_keeps_its_name(cached):
    source = find_source("someone/some-llama")
    assert (source.name, source.config.hidden_size) == ("someone/some-llama", 64)


def test_an_odd_config_of_the_hub_is_an_error_of_one_line(cached):
    (cached / "config.json").write_text(json.dumps({"model_type": "no-such-type"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"no usable config\.json") as caught:
        find_source("someone/some-llama")
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_in_the_cache_cannot_be_had_offline(cached):
    with pytest.raises(DataError, match="'someone/other': not in the catalogue"):
        find_source("someone/other")


def test_the_catalogue_forgives_a_missing_owner():
    assert find_source("codebert-base").name == "microsoft/codebert-base"


def test_a_folder_comes_before_the_hub(cached, tmp_path, monkeypatch):
    config_folder(tmp_path / "someone", "gpt2").rename(tmp_path / "someone" / "some-llama")
    monkeypatch.chdir(tmp_path)
    assert find_source("someone/some-llama").config.model_type == "gpt2"


def test_what_is_neither_is_unknown(cached):
    with pytest.raises(UnknownNameError, match="unknown base model"):
        find_source("nosuch")
