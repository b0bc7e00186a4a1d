"""What would be uploaded of a run, and what is refused before anything is sent."""

import json
import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from advisor.errors import DataError, InputError, ReloadCheckError
from advisor.report.publishing import PublishRequest, prepare_publication, summary_of
from tests.report import fixtures
from tests.report.publishing import runs

pytestmark = pytest.mark.slow

TOKEN = "hf_" + "a" * 34


def prepare(folder, **options):
    return prepare_publication(PublishRequest(folder=folder, repo="me/mine", **options))


def texts(prepared):
    return {file.path: file.text() for file in prepared.files if not file.is_binary}


def test_a_finished_run_is_ready(tmp_path):
    prepared = prepare(runs.finished_run(tmp_path / "run"))
    assert prepared.warnings == ()
    assert prepared.message == "Code clone detection: LoRA on test-org/tiny-code-encoder"
    summary = summary_of(prepared)
    assert summary.size_bytes == sum(file.size_bytes for file in summary.files) > 0
    assert (summary.repo, summary.private, summary.commit_url) == ("me/mine", True, None)
    assert not any(file.changed for file in summary.files)


def test_preparing_changes_nothing_in_the_run_folder(tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    prepare(folder, include_report=True, base_model="org/base")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    (folder / "result.json").unlink()
    with pytest.raises(DataError, match="not the folder of a finished run"):
        prepare(folder)
    with pytest.raises(DataError, match="not a run folder"):
        prepare(tmp_path)


def test_a_run_without_adapter_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no best_adapter"):
        prepare(fixtures.write_run(tmp_path / "run"))


def test_an_adapter_that_failed_its_reload_check_needs_force(tmp_path):
    folder = runs.finished_run(tmp_path / "run", fixtures.run_folder(result=fixtures.result(reload_passed=False)))
    with pytest.raises(ReloadCheckError, match="--force uploads it all the same"):
        prepare(folder)
    (warning,) = prepare(folder, force=True).warnings
    assert "because of --force" in warning


@pytest.mark.parametrize("repo", ["mine", "a/b/c", "me/mine!", "/me", "me/", "-me/x--y..", "https://hub/me/mine"])
def test_a_repository_needs_owner_and_name(tmp_path, repo):
    with pytest.raises(InputError, match="OWNER/NAME"):
        PublishRequest(folder=tmp_path, repo=repo)


def test_a_base_model_that_is_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="--base-model"):
        PublishRequest(folder=tmp_path, repo="me/mine", base_model=str(tmp_path))


def test_an_empty_branch_is_refused(tmp_path):
    with pytest.raises(InputError, match="--revision: is empty"):
        PublishRequest(folder=tmp_path, repo="me/mine", revision=" ")


@pytest.mark.parametrize("name", ["README.md", "tokenizer_config.json"])
def test_a_secret_is_refused_and_not_said(tmp_path, name):
    folder = runs.finished_run(tmp_path / "run")
    path = folder / "best_adapter" / name
    if path.suffix == ".json":
        runs.write_json(path, {"note": TOKEN})
    else:
        path.write_text(f"{path.read_text()}\n{TOKEN}\n")
    with pytest.raises(DataError, match=rf"{re.escape(name)}: seems to hold a secret \(Hugging Face token\)") as caught:
        prepare(folder)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("said", ["/home/ann/data/train.jsonl", "~/work/data", "C:\\Users\\ann\\data"])
def test_a_card_that_names_a_folder_is_refused(tmp_path, said):
    folder = runs.finished_run(tmp_path / "run")
    card = folder / "best_adapter/README.md"
    card.write_text(f"{card.read_text()}\nTrained on {said}\n")
    with pytest.raises(DataError, match=r"README\.md: names a folder of this machine"):
        prepare(folder)


def test_a_configuration_that_names_a_folder_is_refused_and_a_vocabulary_may_hold_a_slash(tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    prepare(folder)  # its vocabulary has "/home"
    runs.write_json(folder / "best_adapter/generation_config.json", {"cache": ["/srv/ann/cache"]})
    with pytest.raises(DataError, match=r"generation_config\.json: names a folder"):
        prepare(folder)


def test_a_base_model_of_this_machine_is_warned_of_and_named_nowhere(tmp_path):
    base = tmp_path / "models" / "my-base"
    base.mkdir(parents=True)
    prepared = prepare(runs.local_run(tmp_path / "run", base))
    (warning,) = prepared.warnings
    assert "others cannot load the adapter" in warning
    assert "--base-model" in warning
    assert not any(str(tmp_path) in text for text in texts(prepared).values())


def test_a_base_model_of_the_hub_stands_in_configuration_and_card(tmp_path):
    base = tmp_path / "models" / "my-base"
    base.mkdir(parents=True)
    folder = runs.local_run(tmp_path / "run", base)
    assert "has to name theirs" in (folder / "best_adapter/README.md").read_text(encoding="utf-8")
    prepared = prepare(folder, base_model="org/my-base")
    assert prepared.warnings == ()
    found = texts(prepared)
    assert json.loads(found["adapter_config.json"])["base_model_name_or_path"] == "org/my-base"
    card = ModelCard(found["README.md"])
    assert (card.data.base_model, card.data.base_model_relation) == ("org/my-base", "adapter")
    assert "has to name theirs" not in card.text
    assert len(card.data.eval_results) == 2


def test_the_report_is_uploaded_without_examples_folders_and_rows(tmp_path):
    base = tmp_path / "models" / "my-base"
    base.mkdir(parents=True)
    folder = runs.local_run(tmp_path / "run", base)
    prepared = prepare(folder, include_report=True)
    found = texts(prepared)
    assert {path for path in found if path.startswith("report")} == {
        "report.html", "report.md",
        *(f"report_files/{name}.svg" for name in ("curves", "differences", "history", "memory")),
    }  # fmt: skip
    for path in ("report.html", "report.md"):
        assert "0.843" in found[path]
        assert "def total_" not in found[path]  # a source of the predictions
        assert "pair-" not in found[path]
        assert str(tmp_path) not in found[path]
        assert "test 7" not in found[path]
    assert any("without examples" in warning for warning in prepared.warnings)


def test_a_run_full_of_hostile_text_can_be_uploaded(tmp_path):
    folder = runs.finished_run(tmp_path / "run", fixtures.hostile_run())
    found = texts(prepare(folder, include_report=True))
    assert ModelCard(found["README.md"]).data.language == "code"
    assert "system\nYou are evil" not in found["README.md"]


def test_whole_models_are_derived_by_fine_tuning(tmp_path):
    run = fixtures.run_folder(result=fixtures.result(best=fixtures.candidate(method="full")))
    folder = runs.finished_run(tmp_path / "run", run)
    (folder / "best_adapter/adapter_config.json").unlink()
    card = ModelCard(texts(prepare(folder, base_model="org/base"))["README.md"])
    assert card.data.base_model_relation == "finetune"


def test_an_adapter_without_card_is_warned_of(tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    (folder / "best_adapter/README.md").unlink()
    prepared = prepare(folder)
    assert [replace(file, source=None) for file in prepared.files if file.path == "README.md"] == []
    assert "no README.md" in prepared.warnings[0]
