"""The config.json of a model of the hub: from its cache on this machine, or asked for once.

transformers would ask by itself, but where there is no network it tries for half a minute and writes about each try.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from advisor.catalog.base_models import all_base_models
from advisor.errors import DataError, nearest_names, printable

_FILE = "config.json"
_LOGGER = "huggingface_hub"
_REASON_LENGTH = 120  # characters of what the hub's client says


def config_from_hub(name: str) -> Path:
    """Return the path of a model's config.json, downloaded unless it is in the cache.

    Args:
        name: Hub id, `owner/name`.

    Raises:
        DataError: There is no such model, access is not granted, or the hub cannot be asked.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        cached = try_to_load_from_cache(name, _FILE)
        if isinstance(cached, str):
            return Path(cached)
        if constants.HF_HUB_OFFLINE:
            raise _unavailable(name, "HF_HUB_OFFLINE is set and its config.json is not in the cache")
        with _quiet():
            get_hf_file_metadata(hf_hub_url(name, _FILE))  # one request; the download alone would try six times
            return Path(hf_hub_download(name, _FILE))
    except GatedRepoError as error:
        raise _unavailable(name, "its owner grants access on request; then log in with `hf auth login`") from error
    except (RepositoryNotFoundError, EntryNotFoundError, HFValidationError) as error:
        raise _unavailable(name, "the hub has no such model, or no config.json in it") from error
    except DataError:
        raise
    except Exception as error:  # no network, no room on the disk: the client has no common error
        reason = " ".join(str(error).split())[:_REASON_LENGTH] or type(error).__name__
        raise _unavailable(name, f"the hub cannot be asked ({reason})") from error


def _unavailable(name: str, reason: str) -> DataError:
    near = nearest_names(name, [model.hf_id for model in all_base_models()])
    hint = f"nearest in the catalogue: {', '.join(near)}" if near else "a folder with its config.json works too"
    return DataError(f"{printable(name)}: not in the catalogue, and {reason}; {hint}")


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger(_LOGGER)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
