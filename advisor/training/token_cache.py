"""Token ids of a column of texts, kept on disk so that a study that is continued does not tokenize again.

One Arrow dataset per content: its name is the hash of the texts and of all that decides how they are cut into tokens.
A cache may be lost at any time; what cannot be read or written is tokenized, without a word.

Not covered: slow tokenizers (they do not say what they do in one string).
"""

import hashlib
import itertools
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tokenizers
from transformers import PreTrainedTokenizerBase

from advisor.training.frames import Ids

_log = logging.getLogger(__name__)
# Below this, tokenizing takes less time than looking for the file and importing what reads it.
LEAST_CHARACTERS = 5_000_000
LARGEST_BYTES = 4 * 2**30
_FORMAT = 1


def default_folder() -> Path:
    """Return the user's cache folder, which may not exist; see the XDG base directory specification."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "peft-advisor" / "tokens"


class TokenCache:
    """Token ids on disk."""

    def __init__(self, folder: Path, *, least_characters: int = LEAST_CHARACTERS, most_bytes: int = LARGEST_BYTES):
        """Use a folder, which is made when something is kept.

        Args:
            folder: Of this cache alone.
            least_characters: Columns with fewer are not kept.
            most_bytes: When more is kept, the columns that were not used for longest are removed.
        """
        self._folder = folder
        self._least_characters = least_characters
        self._most_bytes = most_bytes

    def ids(
        self,
        tokenizer: PreTrainedTokenizerBase,
        texts: Sequence[str],
        tokenize: Callable[[PreTrainedTokenizerBase, Sequence[str]], list[Ids]],
    ) -> list[Ids]:
        """Return what `tokenize` returns for these texts, from the disk if it was kept there."""
        if not tokenizer.is_fast or sum(map(len, texts)) < self._least_characters:
            return tokenize(tokenizer, texts)
        place = self._folder / _key(tokenizer, texts)
        found = _read(place, len(texts))
        if found is None:
            found = tokenize(tokenizer, texts)
            self._keep(place, found)
        return found

    def _keep(self, place: Path, rows: list[Ids]) -> None:
        from datasets import Dataset, Features, Sequence, Value

        part = place.with_name(f"{place.name}.{uuid.uuid4().hex}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            features = Features({"ids": Sequence(Value("int32"))})
            with _without_bar():
                Dataset.from_dict({"ids": rows}, features=features).save_to_disk(part)
            part.rename(place)
        except OSError as error:  # full, read-only, or another process was quicker
            _log.info("token ids are not kept in %s: %s", self._folder, error)
            shutil.rmtree(part, ignore_errors=True)
            return
        self._remove_old(place)

    def _remove_old(self, newest: Path) -> None:
        kept = sorted((path for path in self._folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in kept}
        total = sum(sizes.values())
        for path in kept:
            if total <= self._most_bytes:
                return
            if path != newest:
                shutil.rmtree(path, ignore_errors=True)
                total -= sizes[path]


@contextmanager
def _without_bar() -> Iterator[None]:
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _key(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {tokenizers.__version__} ".encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(f" {len(encoded)} ".encode())  # two texts are not one
        digest.update(encoded)
    return digest.hexdigest()


def _read(place: Path, n_rows: int) -> list[Ids] | None:
    if not place.is_dir():
        return None
    from datasets import load_from_disk

    try:
        kept = load_from_disk(place)
        columns = [batch["ids"] for batch in kept.with_format("arrow").iter(batch_size=10_000)]
        rows: list[Ids] = []
        for column in columns:
            values = column.combine_chunks()
            offsets = values.offsets.to_numpy()
            flat = values.values.to_numpy()
            rows.extend(flat[start:end].astype(np.int32) for start, end in itertools.pairwise(offsets))
    except Exception as error:  # a damaged cache costs time, nothing else
        _log.info("%s cannot be read and is made anew: %s", place, error)
        shutil.rmtree(place, ignore_errors=True)
        return None
    os.utime(place)
    if len(rows) != n_rows:
        shutil.rmtree(place, ignore_errors=True)
        return None
    return rows
