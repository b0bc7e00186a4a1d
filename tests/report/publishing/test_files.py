"""Which files of an adapter are uploaded, and what is changed in the copies."""

import json

import pytest

from advisor.errors import DataError
from advisor.report.publishing.files import adapter_files
from tests.report.publishing import runs


def files_of(folder, base_model=None):
    return {file.path: file for file in adapter_files(folder / "best_adapter", base_model)}


def test_the_files_of_an_adapter_are_uploaded_as_they_stand(tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    found = files_of(folder)
    assert list(found) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert all(file.source == folder / "best_adapter" / path for path, file in found.items())
    assert all(file.size_bytes == (folder / "best_adapter" / path).stat().st_size for path, file in found.items())


@pytest.mark.parametrize(
    "name", ["adapter_model.bin", "train.jsonl", "predictions.json", "optimizer.pt", ".env", "notes.txt", "x.py"]
)
def test_any_other_file_is_refused_by_name(tmp_path, name):
    folder = runs.finished_run(tmp_path / "run")
    (folder / "best_adapter" / name).write_text("x")
    with pytest.raises(DataError, match=rf"{name}' is no file of an adapter.*take it out"):
        files_of(folder)


def test_links_and_folders_are_refused(tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    link = folder / "best_adapter/vocab.json"
    link.symlink_to(folder / "predictions/best-trial.jsonl")
    with pytest.raises(DataError, match=r"vocab\.json' is a link"):
        files_of(folder)
    link.unlink()
    (folder / "best_adapter/checkpoint").mkdir()
    with pytest.raises(DataError, match="checkpoint' is a folder"):
        files_of(folder)


@pytest.mark.parametrize("cut", [1, 100])
def test_weights_that_were_cut_are_refused(tmp_path, cut):
    folder = runs.finished_run(tmp_path / "run")
    weights = folder / "best_adapter/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-cut])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        files_of(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02" + b"\0" * 7 + b"[]", b"\x80\x04pickle" * 9])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    folder = runs.finished_run(tmp_path / "run")
    (folder / "best_adapter/adapter_model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="not a whole safetensors file"):
        files_of(folder)


def test_an_adapter_without_weights_is_refused(tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    (folder / "best_adapter/adapter_model.safetensors").unlink()
    with pytest.raises(DataError, match="holds no weights"):
        files_of(folder)


def test_a_local_base_model_becomes_a_name_that_is_no_id_of_the_hub(tmp_path):
    base = tmp_path / "models" / "bert-base"
    base.mkdir(parents=True)
    folder = runs.finished_run(tmp_path / "run", base_model=str(base))
    before = (folder / "best_adapter/adapter_config.json").read_bytes()
    file = files_of(folder)["adapter_config.json"]
    assert json.loads(file.text()) == {"peft_type": "LORA", "base_model_name_or_path": "./bert-base", "r": 8}
    assert file.size_bytes == len(file.content)
    assert (folder / "best_adapter/adapter_config.json").read_bytes() == before


def test_a_base_model_that_was_asked_for_is_named_in_the_copy(tmp_path):
    file = files_of(runs.finished_run(tmp_path / "run"), "other-org/base")["adapter_config.json"]
    assert json.loads(file.text())["base_model_name_or_path"] == "other-org/base"


def test_where_a_tokenizer_or_model_was_loaded_from_is_no_folder_in_the_copy(tmp_path):
    folder = runs.finished_run(tmp_path / "run")
    runs.write_json(folder / "best_adapter/config.json", {"_name_or_path": "/data/ann/base", "id2label": {"0": "no"}})
    assert json.loads(files_of(folder)["config.json"].text()) == {"_name_or_path": "base", "id2label": {"0": "no"}}


@pytest.mark.parametrize("content", ["{", "[1]", "\0"])
def test_a_broken_configuration_is_refused(tmp_path, content):
    folder = runs.finished_run(tmp_path / "run")
    (folder / "best_adapter/config.json").write_text(content)
    with pytest.raises(DataError, match=r"config\.json: (cannot be read|is not a JSON object)"):
        files_of(folder)
