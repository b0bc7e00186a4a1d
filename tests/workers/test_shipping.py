"""Folders as bytes: whole, identical and nowhere but in their place."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.workers.shipping import CutOffError, chunks_of, unpack

names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60
)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@settings(max_examples=40, deadline=None)
@given(files=st.dictionaries(names.filter(lambda name: name not in (".", "..") and len(name.encode()) < 250),
                             st.binary(max_size=3000), max_size=5),
       chunk_bytes=st.integers(1, 5000))  # fmt: skip
def test_whatever_is_in_a_folder_arrives_as_it_was(tmp_path_factory, files, chunk_bytes):
    folder = tmp_path_factory.mktemp("ship")
    there = written(folder / "there", {f"deep/{name}": content for name, content in files.items()})
    there.mkdir(exist_ok=True)
    (there / "empty").mkdir()
    chunks = list(chunks_of(there, chunk_bytes))
    assert {len(chunk) for chunk in chunks[:-1]} <= {chunk_bytes}
    unpack(chunks, folder / "here")
    assert contents(folder / "here") == contents(there)


def test_what_is_sent_is_an_archive_that_tar_reads(tmp_path):
    there = written(tmp_path / "there", {"adapter_config.json": b"{}", "more/weights": bytes(range(256)) * 10})
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks_of(there, 700)))) as archive:
        found = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}
    assert found == {"adapter_config.json": b"{}", "more/weights": bytes(range(256)) * 10}


@pytest.mark.parametrize("n_kept", [0, 1, 2, 3])
def test_a_folder_that_is_cut_off_does_not_appear(tmp_path, n_kept):
    # Two files of a block each: their headers, their contents, the end; cut after a whole file, too.
    there = written(tmp_path / "there", {"a": b"a" * 512, "b": b"b" * 512})
    chunks = list(chunks_of(there, 1024))
    assert len(chunks) == 3
    if n_kept == 3:
        unpack(chunks, tmp_path / "here")
        assert contents(tmp_path / "here") == contents(there)
        return
    with pytest.raises(CutOffError, match="not a whole archive"):
        unpack(chunks[:n_kept], tmp_path / "here")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def test_what_breaks_off_on_the_way_leaves_what_was_there(tmp_path):
    there = written(tmp_path / "there", {"a": b"new" * 1000})
    here = written(tmp_path / "here", {"a": b"old"})

    def breaks_off():
        yield next(iter(chunks_of(there, 600)))
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        unpack(breaks_off(), here)
    assert contents(here) == {"a": b"old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_files_come_beside_those_of_a_folder_that_is_there(tmp_path):
    there = written(tmp_path / "there", {"a": b"new"})
    here = written(tmp_path / "here", {"a": b"old", "b": b"stays"})
    unpack(chunks_of(there), here)
    assert contents(here) == {"a": b"new", "b": b"stays"}


@pytest.mark.parametrize("name", ["../out", "/tmp/out-of-here"])
def test_an_archive_cannot_write_outside_of_its_folder(tmp_path, name):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        about = tarfile.TarInfo(name)
        about.size = 3
        archive.addfile(about, io.BytesIO(b"bad"))
    if name.startswith("/"):  # made relative, as tar does
        unpack([held.getvalue()], tmp_path / "here")
        assert (tmp_path / "here" / name.lstrip("/")).read_bytes() == b"bad"
    else:
        with pytest.raises(OSError, match="not a whole archive"):
            unpack([held.getvalue()], tmp_path / "here")
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/out-of-here").exists()


def test_a_folder_larger_than_a_chunk_is_never_in_memory_as_a_whole(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    with (there / "weights").open("wb") as file:
        os.ftruncate(file.fileno(), 40 * 1024**2)
    largest = 0
    passing = 0

    def counted():
        nonlocal largest, passing
        for chunk in chunks_of(there, 1024**2):
            largest, passing = max(largest, len(chunk)), passing + 1
            yield chunk

    unpack(counted(), tmp_path / "here")
    assert (largest, passing) == (1024**2, 41)
    assert (tmp_path / "here" / "weights").stat().st_size == 40 * 1024**2
