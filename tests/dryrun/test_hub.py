"""Asking the hub for one file, with the hub's client replaced."""

import logging

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, HFValidationError

from advisor.dryrun.hub import config_from_hub
from advisor.errors import DataError


@pytest.fixture
def online(monkeypatch, tmp_path):
    """A machine with an empty cache that may ask the hub."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: None)
    return monkeypatch


def test_what_is_in_the_cache_is_not_asked_for(monkeypatch, tmp_path):
    path = tmp_path / "config.json"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: str(path))
    assert config_from_hub("owner/name") == path


def test_what_the_hub_has_is_downloaded(online, tmp_path):
    path = tmp_path / "config.json"
    online.setattr(huggingface_hub, "get_hf_file_metadata", lambda url: None)
    online.setattr(huggingface_hub, "hf_hub_download", lambda name, file: str(path))
    assert config_from_hub("owner/name") == path


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("[Errno -2] Name or service\nnot known"), "the hub cannot be asked ([Errno -2] Name or service not"),
        (EntryNotFoundError("404"), "the hub has no such model, or no config.json in it"),
        (HFValidationError("not a name"), "the hub has no such model"),
        (RuntimeError(""), "the hub cannot be asked (RuntimeError)"),
    ],
)
def test_a_hub_that_does_not_answer_is_one_line(online, error, said):
    def refuse(url: str) -> None:
        logging.getLogger("huggingface_hub.utils").warning("a line that nobody should see")
        raise error

    online.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    with pytest.raises(DataError) as caught:
        config_from_hub("owner/name")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hubs_client_is_silent_while_it_is_asked(online, capfd):
    def refuse(url: str) -> None:
        logging.getLogger("huggingface_hub.utils._http").warning("retrying")
        raise OSError("no network")

    online.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    with pytest.raises(DataError):
        config_from_hub("owner/name")
    assert capfd.readouterr().err == ""


def test_nothing_is_asked_offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url: pytest.fail("asked"))
    with pytest.raises(DataError, match="HF_HUB_OFFLINE"):
        config_from_hub("owner/name")


def test_a_misspelt_model_of_the_catalogue_is_recognised(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"nearest in the catalogue: .*Qwen/Qwen2.5-Coder-7B"):
        config_from_hub("Qwen/Qwen2.5-Coder-7b-")
