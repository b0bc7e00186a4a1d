"""Where a model's config comes from: the catalogue, a folder, the hub's cache on this machine, or the hub.

transformers asks the hub itself, but where there is no network it tries for half a minute and writes about it. Here
the hub is asked once.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

from advisor.catalog.base_models import all_base_models
from advisor.dryrun.question import is_hub_id, known_model
from advisor.errors import DataError, nearest_names, printable
from advisor.modeling.meta import ModelSource, read_model_source

_FILE = "config.json"
_HUB_LOGGER = "huggingface_hub"


def find_source(name: str) -> ModelSource:
    """Return the model of a catalogue entry, a folder, or a hub id.

    Raises:
        DataError: The folder or the hub has no usable config.json, or the hub cannot be asked.
        UnknownNameError: Neither a catalogue entry nor a folder, and it does not look like a hub id.
    """
    full = known_model(name)
    if not is_hub_id(full) or Path(full).expanduser().is_dir() or full in _catalogue():
        return read_model_source(full)
    return replace(read_model_source(str(_from_hub(full).parent)), name=full)


def _from_hub(name: str) -> Path:
    """Return the path of the one file that is needed, downloaded unless it is in the cache."""
    cached = try_to_load_from_cache(name, _FILE)
    if isinstance(cached, str):
        return Path(cached)
    if constants.HF_HUB_OFFLINE:
        raise _unavailable(name, "HF_HUB_OFFLINE is set and its config.json is not in the cache")
    try:
        with _quiet_hub():
            get_hf_file_metadata(hf_hub_url(name, _FILE))  # one request; the download tries six times
            return Path(hf_hub_download(name, _FILE))
    except GatedRepoError as error:
        raise _unavailable(name, "its owner grants access on request; log in with `hf auth login`") from error
    except (RepositoryNotFoundError, EntryNotFoundError) as error:
        raise _unavailable(name, "the hub has no such model, or no config.json in it") from error
    except Exception as error:  # names that are none, no network, no room on the disk
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise _unavailable(name, f"the hub cannot be asked: {reason}") from error


def _unavailable(name: str, reason: str) -> DataError:
    near = nearest_names(name, _catalogue())
    hint = f"; nearest in the catalogue: {', '.join(near)}" if near else "; a folder with its config.json works too"
    return DataError(f"{printable(name)}: not in the catalogue, and {reason}{hint}")


def _catalogue() -> list[str]:
    return [model.hf_id for model in all_base_models()]


@contextmanager
def _quiet_hub() -> Iterator[None]:
    logger = logging.getLogger(_HUB_LOGGER)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
