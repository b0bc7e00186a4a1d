"""Files appear whole or not at all, and a disk that refuses leaves the old ones."""

import errno
import os
from pathlib import Path

import pytest

from advisor import durable


@pytest.fixture
def order(monkeypatch):
    """Note syncs (by the name of what is synced) and renames in the order in which they come."""
    seen: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(number: int) -> None:
        seen.append(f"sync {Path(f'/proc/self/fd/{number}').readlink().name}")
        real_fsync(number)

    def replace(source: Path, target: Path) -> Path:
        seen.append(f"rename {target.name}")
        return real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return seen


@pytest.fixture
def refusing(monkeypatch):
    """Let every sync say that the disk is full."""

    def fsync(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)


def test_contents_are_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, order):
    durable.write_text(tmp_path / "a", "é\n")
    assert (tmp_path / "a").read_bytes() == "é\n".encode()
    assert order == ["sync a.part", "rename a", f"sync {tmp_path.name}"]


def test_half_a_character_is_escaped(tmp_path):
    durable.write_text(tmp_path / "a", "\udc80")
    assert (tmp_path / "a").read_bytes() == b"\\udc80"


def test_a_refused_text_leaves_the_old_one_alone(tmp_path, refusing):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        durable.write_text(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_new_file_that_is_appended_to_gets_its_name_on_the_disk_an_old_one_has_it(tmp_path, order):
    durable.append(tmp_path / "a", b"one\n")
    assert order == ["sync a", f"sync {tmp_path.name}"]
    durable.append(tmp_path / "a", b"two\n")
    assert order[2:] == ["sync a"]
    assert (tmp_path / "a").read_bytes() == b"one\ntwo\n"


def test_a_refused_end_is_cut_off_again(tmp_path, refusing):
    (tmp_path / "a").write_bytes(b"one\n")
    with pytest.raises(OSError, match="No space left"):
        durable.append(tmp_path / "a", b"two\n")
    assert (tmp_path / "a").read_bytes() == b"one\n"


def test_a_disk_that_takes_a_part_is_asked_for_the_rest(tmp_path, monkeypatch):
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: real_write(handle, bytes(content)[:3]))
    durable.append(tmp_path / "a", b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_tree_is_synced_from_the_inside_out(tmp_path, order):
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "deep").touch()
    (root / "flat").touch()
    durable.sync_tree(root)
    assert sorted(order) == sorted(["sync deep", "sync inner", "sync flat", "sync root"])
    assert order.index("sync deep") < order.index("sync inner") < order.index("sync root") == 3


def test_a_file_system_without_syncing_of_folders_is_no_error(tmp_path, monkeypatch):
    def fsync(_number: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    durable.sync_folder(tmp_path)
    with pytest.raises(OSError, match="Invalid argument"):
        durable.append(tmp_path / "a", b"x")
