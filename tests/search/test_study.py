"""The study of a run folder: whole or not there, ordinary Optuna, refused under other settings."""

import optuna
import pytest

from advisor.errors import DataError, InputError
from advisor.search.settings import first_difference
from advisor.search.study import (
    NO_PRUNER_NAME,
    make_pruner,
    note_spent,
    open_study,
    quiet_optuna,
    spent_s,
    sqlite_storage,
)
from tests.search.fakes import candidate, settings, space


@pytest.mark.parametrize("name", ["plain", "a b", "100%", "what?", "{braces}", "ümlaut", "semi;colon&and#hash"])
def test_any_folder_name_works(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    note_spent(open_study(folder, settings()), 12.5)
    assert spent_s(open_study(folder, settings())) == 12.5
    assert sorted(path.name for path in folder.iterdir()) == ["study.db"]


def test_the_file_is_an_ordinary_optuna_storage(tmp_path):
    open_study(tmp_path, settings())
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert study.direction.name == "MAXIMIZE"


def test_what_a_kill_left_half_made_is_made_anew(tmp_path):
    (tmp_path / "study.db.part").write_bytes(b"half a database")
    assert open_study(tmp_path, settings()).trials == []
    assert not (tmp_path / "study.db.part").exists()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 10, b""])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "study.db").write_bytes(content)
    with pytest.raises(DataError, match=r"study\.db: not a study that can be continued") as caught:
        open_study(tmp_path, settings())
    assert "\n" not in str(caught.value)


def test_a_study_of_somebody_else_is_one_line(tmp_path):
    optuna.create_study(study_name="other", storage=sqlite_storage(tmp_path / "study.db"))
    with pytest.raises(DataError, match="not a study that can be continued"):
        open_study(tmp_path, settings())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "code-summarization"}, "task: clone-detection then, code-summarization now"),
        ({"base_model": "other"}, "base model: base then, other now"),
        ({"seed": 3}, "seed: 0 then, 3 now"),
        ({"rung_steps": (1, 2)}, r"training steps: \[5, 10, 20\] then, \[1, 2\] now"),
        ({"data": {"train": "a", "valid": "x", "test": "c"}}, "the content of the valid file differs"),
        ({"space": space("lora")}, "the searched methods or ranges differ"),
        ({"warm_starts": (candidate("ia3"),)}, "the recommendation differs"),
    ],
)
def test_every_setting_that_differs_is_named(tmp_path, changes, said):
    open_study(tmp_path, settings())
    with pytest.raises(InputError, match=said):
        open_study(tmp_path, settings(**changes))


def test_the_same_settings_have_no_difference():
    assert first_difference(settings(), settings()) is None


def test_optuna_is_quiet_inside_and_as_before_after():
    before = optuna.logging.get_verbosity()
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    assert optuna.logging.get_verbosity() == before


def test_a_study_of_several_objectives_has_a_direction_for_each(tmp_path):
    about = settings(objectives=("quality", "memory", "latency"))
    open_study(tmp_path, about)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert open_study(tmp_path, about).trials == []
    with pytest.raises(InputError, match="objectives"):
        open_study(tmp_path, settings())


def test_a_study_that_was_begun_before_there_were_objectives_goes_on(tmp_path):
    study = open_study(tmp_path, settings())
    before = dict(study.user_attrs["settings"])
    del before["objectives"]
    study.set_user_attr("settings", before)
    assert open_study(tmp_path, settings()).direction.name == "MAXIMIZE"


def test_nothing_is_pruned_with_several_objectives():
    assert isinstance(make_pruner(2), optuna.pruners.MedianPruner)
    assert type(make_pruner(2, ("quality", "memory"))).__name__ == NO_PRUNER_NAME == "NopPruner"
