"""Why a base model cannot be loaded, said with what to do."""

import json

import pytest
from transformers import AutoModel

from advisor.modeling.load_failures import why_not_loaded


def failure_of(folder) -> Exception:
    """Return what transformers itself raises."""
    with pytest.raises((OSError, ValueError)) as caught:
        AutoModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    return caught.value


def test_pickled_weights_are_named_and_not_opened(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta", "num_hidden_layers": 1}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"not opened")
    said = why_not_loaded(str(tmp_path), failure_of(tmp_path))
    assert (
        said
        == "its weights are pickled, in pytorch_model.bin, and unpickling may run any code; save them as safetensors"
    )


def test_code_of_its_own_is_said_whether_or_not_transformers_asks_for_trust(tmp_path):
    own = {"model_type": "mycoder", "auto_map": {"AutoModel": "modeling_mycoder.MyCoder"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    (tmp_path / "modeling_mycoder.py").write_text("raise SystemExit('run')\n")
    assert "Python code of its own, which is never run" in why_not_loaded(str(tmp_path), failure_of(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mycoder"}))
    assert "mycoder" in why_not_loaded(str(tmp_path), failure_of(tmp_path))


def test_a_model_that_is_not_in_the_cache_is_said_to_be_out_of_reach(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    said = why_not_loaded("nobody/model", failure_of("nobody/model"))
    assert said.startswith("it is not in the cache and the hub cannot be reached")


def test_any_other_reason_is_the_library_s_in_one_short_line():
    assert why_not_loaded("x", ValueError("two\n lines")) == "two lines"
    assert why_not_loaded("x", KeyError()) == "KeyError"
    assert len(why_not_loaded("x", ValueError("long " * 100))) == 200
