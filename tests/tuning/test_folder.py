"""Run folders: their names, and who may write them."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from advisor.errors import InputError
from advisor.tuning.folder import check_free, check_ours, check_writable, default_folder, locked


@pytest.mark.parametrize(
    ("base_model", "name"),
    [
        ("microsoft/codebert-base", "codebert-base"),
        ("Salesforce/codet5p-220m", "codet5p-220m"),
        ("bert", "bert"),
        ("a/..", "model"),
        ("x/\x1b[2J evil", "2j-evil"),
    ],
)
def test_the_default_folder_is_named_after_task_and_model(base_model, name):
    assert default_folder("clone-detection", base_model) == Path("studies") / f"clone-detection-{name}"


def test_a_local_model_gives_its_folder_name_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "My Model").mkdir()
    monkeypatch.chdir(tmp_path / "My Model")
    expected = Path("studies") / "clone-detection-my-model"
    assert default_folder("clone-detection", str(tmp_path / "My Model")) == expected
    assert default_folder("clone-detection", ".") == expected


@pytest.mark.parametrize(
    ("base_models", "quantizations", "name"),
    [
        (("microsoft/codebert-base", "Salesforce/codet5-base"), (), "codebert-base-codet5-base"),
        (("a", "b", "c", "d"), (), "a-b-2-more"),
        (("a", "a"), ("none", "4bit"), "a-unquantized-4bit"),
        (("a",), ("4bit",), "a-4bit"),
    ],
)
def test_several_base_models_and_storages_stand_in_the_name(base_models, quantizations, name):
    found = default_folder("clone-detection", *base_models, quantizations=quantizations)
    assert found == Path("studies") / f"clone-detection-{name}"


def test_a_study_of_composed_adapters_has_a_folder_beside_those_that_it_is_made_of():
    name = "clone-detection-codebert-base-adapter-fusion"
    found = default_folder("clone-detection", "microsoft/codebert-base", composed="adapter-fusion")
    assert found == Path("studies") / name


def test_checking_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file, not a folder"):
        check_writable(tmp_path / "file" / "run")


def test_a_folder_with_other_files_is_refused_and_a_begun_run_is_not(tmp_path):
    check_ours(tmp_path / "new")
    (tmp_path / "data").mkdir()
    for name in (
        "recommendation.json",
        "data_report.json",
        "data_report.json.part",
        "study.db.part",
        "study.db.part-journal",
        "tune.lock",
    ):
        (tmp_path / name).touch()
    check_ours(tmp_path)
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(InputError, match=r"holds other files \('photo\.jpg'\)"):
        check_ours(tmp_path)
    (tmp_path / "study.db").touch()
    check_ours(tmp_path)


def test_a_second_process_is_kept_out_until_the_first_is_done(tmp_path):
    code = (
        "import sys; from pathlib import Path; from advisor.tuning.folder import locked\n"
        "with locked(Path(sys.argv[1])): pass"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with locked(tmp_path / "run"):
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
        assert list((tmp_path / "run").iterdir()) == []
    assert "another `tune` is at work" in done.stderr
    assert subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_that_another_process_is_at_work_is_found_out_without_making_anything(tmp_path):
    check_free(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "run"), pytest.raises(InputError, match="another `tune` is at work"):
        check_free(tmp_path / "run")
    check_free(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_where_folders_cannot_be_locked_a_file_in_them_is(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    real_flock = fcntl.flock

    def flock(handle: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink().is_dir():
            raise OSError(errno.EBADF, "Bad file descriptor")
        real_flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["tune.lock"]
        with pytest.raises(InputError, match="another `tune` is at work"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_a_disk_without_locks_is_refused_in_one_line(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match=r"cannot be locked against a second process \(No locks available\)"):
        locked(tmp_path).__enter__()
