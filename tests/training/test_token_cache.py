"""Token ids on disk are the ones that the tokenizer gives, whatever happened to the disk."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from advisor.training.frames import Ids, plain_ids
from advisor.training.token_cache import TokenCache, default_folder
from tests.models import tiny_tokenizer

TEXTS = [*(f"def f{number}(x):\n    return x + {number}" for number in range(30)), "", "</s> é 中"]


class Counting:
    """A tokenizing function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, tokenizer: PreTrainedTokenizerBase, texts: object) -> list[Ids]:
        self.calls += 1
        return plain_ids(tokenizer, texts)  # type: ignore[arg-type]


def cache(folder: Path, **limits: int) -> TokenCache:
    return TokenCache(folder, **{"least_characters": 1, **limits})


def same(found: list[Ids], expected: list[Ids]) -> bool:
    return all(
        one.dtype == other.dtype and np.array_equal(one, other) for one, other in zip(found, expected, strict=True)
    )


def test_texts_are_tokenized_once_over_all_processes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tokenizer, count = tiny_tokenizer("encoder-only"), Counting()
    expected = plain_ids(tokenizer, TEXTS)
    for _ in range(3):
        assert same(cache(tmp_path).ids(tokenizer, TEXTS, count), expected)
    assert count.calls == 1
    assert capfd.readouterr() == ("", "")


def test_other_texts_or_another_tokenizer_are_other_content(tmp_path: Path) -> None:
    tokenizer, count = tiny_tokenizer("encoder-only"), Counting()
    cache(tmp_path).ids(tokenizer, ["ab", "c"], count)
    cache(tmp_path).ids(tokenizer, ["a", "bc"], count)
    tokenizer.add_tokens(["return x"])
    found = cache(tmp_path).ids(tokenizer, ["ab", "c"], count)
    assert count.calls == 3
    assert same(found, plain_ids(tokenizer, ["ab", "c"]))


def test_small_data_are_not_kept(tmp_path: Path) -> None:
    cache(tmp_path / "cache", least_characters=10**6).ids(tiny_tokenizer("encoder-only"), TEXTS, plain_ids)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "rows"])
def test_a_damaged_cache_is_made_anew(damage: str, tmp_path: Path) -> None:
    tokenizer, count = tiny_tokenizer("encoder-only"), Counting()
    cache(tmp_path).ids(tokenizer, TEXTS, count)
    (place,) = tmp_path.iterdir()
    if damage == "cut":
        for file in place.glob("*.arrow"):
            file.write_bytes(file.read_bytes()[:100])
    elif damage == "empty":
        shutil.rmtree(place)
        place.mkdir()
    else:
        other = tmp_path / "other"
        cache(other).ids(tokenizer, TEXTS[:3], plain_ids)
        shutil.rmtree(place)
        next(other.iterdir()).rename(place)
        other.rmdir()
    assert same(cache(tmp_path).ids(tokenizer, TEXTS, count), plain_ids(tokenizer, TEXTS))
    assert same(cache(tmp_path).ids(tokenizer, TEXTS, count), plain_ids(tokenizer, TEXTS))
    assert count.calls == 2


def test_where_nothing_can_be_written_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tokenizer = tiny_tokenizer("encoder-only")
    assert same(cache(tmp_path / "file" / "cache").ids(tokenizer, TEXTS, plain_ids), plain_ids(tokenizer, TEXTS))


def test_the_oldest_columns_go_when_there_are_too_many(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer("encoder-only")
    for age, text in enumerate(["first", "second"]):
        before = set(tmp_path.iterdir())
        cache(tmp_path).ids(tokenizer, [text], plain_ids)
        (new,) = set(tmp_path.iterdir()) - before
        os.utime(new, (1000 + age, 1000 + age))
    size = sum(file.stat().st_size for file in new.iterdir())
    count = Counting()
    cache(tmp_path, most_bytes=int(2.5 * size)).ids(tokenizer, ["third"], count)
    cache(tmp_path).ids(tokenizer, ["second"], count)
    assert count.calls == 1
    cache(tmp_path).ids(tokenizer, ["first"], count)
    assert count.calls == 2


def test_it_lies_where_users_keep_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "peft-advisor" / "tokens"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "peft-advisor" / "tokens"
