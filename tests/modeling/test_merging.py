"""Adapters of every method, merged into whole weights: these answer as the adapter does, or there are none."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from advisor.catalog.methods import METHODS as EVERY_METHOD
from advisor.catalog.methods import find_method
from advisor.catalog.tasks import find_task, head_of
from advisor.errors import AdvisorError, InputError
from advisor.exports.merged import UNMERGEABLE
from advisor.modeling import merging
from advisor.modeling.adapters import UnsupportedCandidateError
from advisor.modeling.attachment import AttachedModel, attach_adapter
from advisor.modeling.base import load_base_model, request_for
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Architecture
from advisor.tuning.merging import prepare_merge
from tests.training.toy import MORE_SETTINGS, SETTINGS, candidate

pytestmark = pytest.mark.slow

BaseFolder = Callable[..., Path]
CPU = torch.device("cpu")
LABELS = ("no", "perhaps", "yes")
IDS = torch.randint(10, 300, (2, 9), generator=torch.Generator().manual_seed(0))
IDS[:, -1] = 2  # the end of a text, which classifiers of encoder-decoders look for
# Composed of trained adapters, which a candidate has to name.
COMPOSED = ("adapter-stack", "adapter-fusion")
# Where PEFT's own merging wants a bias that the model has not.
WITHOUT_BIASES = ("beft",)


def shake(model: torch.nn.Module) -> None:
    """Move every trained weight away from where it began."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def adapter(base_folder: BaseFolder, method: str, task: str, architecture: Architecture) -> AttachedModel:
    chosen = candidate(base_folder(architecture), architecture, method)
    base = load_base_model(request_for(chosen, find_task(task), LABELS, CPU), CPU)
    attached = attach_adapter(base, chosen, seed=5)
    shake(attached.model)
    attached.model.eval()
    return attached


def answer(model: Any, *, with_targets: bool = False) -> torch.Tensor:
    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    if with_targets:
        inputs["decoder_input_ids"] = IDS
    with torch.no_grad():
        found: torch.Tensor = model(**inputs).logits
    return found


# Loads each folder as its user would; nothing of PEFT or of this package can be imported.
_LOAD = """
import json, sys
sys.modules["peft"] = sys.modules["advisor"] = None
import torch, transformers
from safetensors.torch import save_file
for job in json.loads(sys.argv[1]):
    model = getattr(transformers, job["class"]).from_pretrained(job["folder"]).eval()
    transformers.AutoTokenizer.from_pretrained(job["folder"])
    ids = torch.tensor(job["ids"])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "Seq2Seq" in job["class"]:
        inputs["decoder_input_ids"] = ids
    with torch.no_grad():
        save_file({"logits": model(**inputs).logits.contiguous()}, job["folder"] + "/logits.safetensors")
    print(json.dumps({"labels": model.config.id2label, "dtype": str(model.dtype)}))
"""
_CLASSES = {
    "sequence-classification": "AutoModelForSequenceClassification", "causal-lm": "AutoModelForCausalLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
}  # fmt: skip


@pytest.mark.slow
def test_every_head_is_loaded_by_transformers_alone(base_folder: BaseFolder, tmp_path: Path) -> None:
    jobs, wanted = [], []
    for number, (task, architecture) in enumerate(SETTINGS):
        attached = adapter(base_folder, "lora", task, architecture)
        attached.save(tmp_path / f"adapter-{number}")
        wanted.append(answer(attached.model, with_targets=attached.base.request.head == "seq2seq-lm"))
        out = tmp_path / f"merged-{number}"
        prepare_merge(tmp_path / f"adapter-{number}", out).write()
        assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {
            one.name for one in out.iterdir()
        }
        head = attached.base.request.head
        assert ("generation_config.json" in {one.name for one in out.iterdir()}) == (
            head in ("causal-lm", "seq2seq-lm")
        )
        jobs.append({"folder": str(out), "class": _CLASSES[head], "ids": IDS.tolist()})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LOAD, json.dumps(jobs)], capture_output=True, text=True, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = [json.loads(line) for line in done.stdout.splitlines()]
    for (task, _), job, one, expected in zip(SETTINGS, jobs, said, wanted, strict=True):
        found = load_file(Path(job["folder"]) / "logits.safetensors")["logits"]
        assert torch.allclose(found, expected, atol=1e-4), job
        if find_task(task).kind == "non-generative":
            assert one["labels"] == {str(number): label for number, label in enumerate(LABELS)}
        assert one["dtype"] == "torch.float32"


QUICK = ("lora", "dora", "ia3", "layernorm-tuning", "layer-freezing", "prompt-tuning", "mam")
EACH = [
    pytest.param(
        method, task, architecture, id=f"{method}-{architecture}",
        marks=() if method in QUICK and architecture == "encoder-only" else pytest.mark.slow,
    )
    for task, architecture in MORE_SETTINGS
    for method in EVERY_METHOD
    if method != "full" and find_method(method).supports(architecture, head_of(find_task(task), architecture))
    if method not in COMPOSED
]  # fmt: skip


@pytest.mark.parametrize(("method", "task", "architecture"), EACH)
def test_every_method_is_merged_or_refused_as_the_table_says(
    method: str, task: str, architecture: Architecture, base_folder: BaseFolder, tmp_path: Path
) -> None:
    try:
        attached = adapter(base_folder, method, task, architecture)
    except UnsupportedCandidateError:
        pytest.skip("the method does not work on this model")
    attached.save(tmp_path / "adapter")
    without_biases = method in WITHOUT_BIASES and architecture != "encoder-only"
    if find_method(method).peft_type in UNMERGEABLE or without_biases:
        with pytest.raises(InputError, match=r"^\w+ cannot be merged: .*; keep the adapter") as caught:
            prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
        assert "\n" not in str(caught.value)
        assert [one.name for one in tmp_path.iterdir()] == ["adapter"], "something was left"
    else:
        assert prepare_merge(tmp_path / "adapter", tmp_path / "merged").write().distance < 1e-4


@pytest.mark.parametrize(("method", "family"), [("lora", "gpt2"), ("bitfit", "gpt2"), ("bitfit", "qwen2")])
def test_other_layers_and_biases_of_some_layers_are_merged(
    method: str, family: str, base_folder: BaseFolder, tmp_path: Path
) -> None:
    chosen = candidate(base_folder("decoder-only", family), "decoder-only", method)
    base = load_base_model(request_for(chosen, find_task("code-summarization"), (), CPU), CPU)
    attached = attach_adapter(base, chosen, seed=5)
    shake(attached.model)
    attached.model.eval()
    attached.save(tmp_path / "adapter")
    wanted = answer(attached.model)
    prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    with quiet_libraries():
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert torch.allclose(answer(found), wanted, atol=1e-4)
    attached.detach()
    assert not torch.allclose(answer(base.model), wanted, atol=1e-2)


@pytest.mark.parametrize(
    ("architecture", "loader"), [("encoder-only", "AutoModel"), ("encoder-decoder", "AutoModelForTextEncoding")]
)
def test_a_model_for_embeddings_is_merged(
    architecture: Architecture, loader: str, base_folder: BaseFolder, tmp_path: Path
) -> None:
    attached = adapter(base_folder, "lora", "code-search", architecture)
    attached.save(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["task_type"] == "FEATURE_EXTRACTION"
    summary = prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    assert summary.model_class == loader
    assert f"{loader}.from_pretrained" in (tmp_path / "merged" / "README.md").read_text()
    with quiet_libraries():
        found = getattr(transformers, loader).from_pretrained(tmp_path / "merged").eval()
    inputs: dict[str, Any] = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
    with torch.no_grad():
        wanted: Any = attached.model(**inputs)
        assert torch.allclose(found(**inputs).last_hidden_state, wanted.last_hidden_state, atol=1e-5)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_is_what_was_asked_for_and_stays_near(
    dtype: str, base_folder: BaseFolder, tmp_path: Path
) -> None:
    adapter(base_folder, "lora", "clone-detection", "encoder-only").save(tmp_path / "adapter")
    summary = prepare_merge(tmp_path / "adapter", tmp_path / "merged", dtype=dtype).write()
    with safe_open(tmp_path / "merged" / "model.safetensors", "pt") as file:
        types = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  # not a mapping
    assert types == {"BF16" if dtype == "bf16" else "F16"}
    assert summary.dtype == dtype
    assert 0 < summary.distance < 0.05


def plain_adapter(base: Path, folder: Path, **settings: Any) -> torch.Tensor:
    """Save an adapter as users of PEFT do, without tokenizer and config; return its logits."""
    with quiet_libraries():
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, **settings)).eval()
        shake(model)
        model.save_pretrained(str(folder))
    return answer(model)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj"], "task_type": "CAUSAL_LM"},
        {"target_modules": ["q_proj"]},  # no task type: PEFT saves the class of the model
        {"target_modules": ["q_proj", "lm_head"], "task_type": "CAUSAL_LM"},
        {"target_modules": ["q_proj", "embed_tokens"], "task_type": "CAUSAL_LM"},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"], "task_type": "CAUSAL_LM"},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "task_type": "CAUSAL_LM"},
        {"target_modules": ["q_proj"], "trainable_token_indices": [11, 12], "task_type": "CAUSAL_LM"},
    ],
    ids=["plain", "no task type", "head", "embeddings", "whole head", "whole embeddings", "tokens"],
)
def test_a_plain_peft_adapter_is_merged_also_where_input_and_output_share_their_weights(
    settings: dict[str, Any], base_folder: BaseFolder, tmp_path: Path
) -> None:
    wanted = plain_adapter(base_folder("decoder-only"), tmp_path / "adapter", **settings)
    summary = prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    assert "tokenizer.json" in summary.files
    with quiet_libraries():
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert torch.allclose(answer(found), wanted, atol=1e-4)
    assert found.generation_config.eos_token_id == 2


def test_a_plain_classifier_keeps_its_head_and_gets_names_by_number(base_folder: BaseFolder, tmp_path: Path) -> None:
    with quiet_libraries():
        base = AutoModelForSequenceClassification.from_pretrained(base_folder("encoder-only"), num_labels=3)
        model = get_peft_model(base, LoraConfig(r=4, target_modules=["query"], task_type="SEQ_CLS")).eval()
        shake(model)
        model.save_pretrained(str(tmp_path / "adapter"))
        wanted = answer(model)
        prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
        found = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    assert torch.allclose(answer(found), wanted, atol=1e-5)
    assert found.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


def test_the_card_names_what_was_merged_and_no_folder(base_folder: BaseFolder, tmp_path: Path) -> None:
    plain_adapter(base_folder("decoder-only"), tmp_path / "adapter", target_modules=["q_proj"], task_type="CAUSAL_LM")
    prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    card = (tmp_path / "merged" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: text-generation\n")
    assert 'AutoModelForCausalLM.from_pretrained("path/to/this/folder", dtype="float32")' in card
    assert f"- base model: `{base_folder('decoder-only').name}`" in card
    assert "off by" in card
    for text in (card, (tmp_path / "merged" / "config.json").read_text()):
        assert str(tmp_path) not in text
        assert str(base_folder("decoder-only")) not in text


def test_a_merge_that_answers_otherwise_leaves_nothing(
    base_folder: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_adapter(base_folder("decoder-only"), tmp_path / "adapter", target_modules=["q_proj"], task_type="CAUSAL_LM")

    def left_out(model: PeftModel) -> Any:
        return model.unload()

    monkeypatch.setattr(merging, "merge", left_out)
    with pytest.raises(
        AdvisorError, match=r"merged in fp32 the answers are off by .*, so nothing was written"
    ) as caught:
        prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    assert "\n" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["adapter"]


def test_weights_that_are_not_numbers_are_refused(base_folder: BaseFolder, tmp_path: Path) -> None:
    plain_adapter(base_folder("decoder-only"), tmp_path / "adapter", target_modules=["q_proj"], task_type="CAUSAL_LM")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({name: value * float("nan") for name, value in load_file(weights).items()}, weights)
    with pytest.raises(AdvisorError) as caught:
        prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    assert "\n" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["adapter"]


def test_a_full_disk_is_seen_before_anything_is_written(
    base_folder: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_adapter(base_folder("decoder-only"), tmp_path / "adapter", target_modules=["q_proj"], task_type="CAUSAL_LM")
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("advisor.tuning.merging.shutil.disk_usage", lambda place: usage)
    with pytest.raises(InputError, match=r"the disk has 0\.0 GiB left"):
        prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    assert [one.name for one in tmp_path.iterdir()] == ["adapter"]


def test_a_base_model_that_has_moved_is_named_with_the_place_to_correct(
    base_folder: BaseFolder, tmp_path: Path
) -> None:
    plain_adapter(base_folder("decoder-only"), tmp_path / "adapter", target_modules=["q_proj"], task_type="CAUSAL_LM")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(path.read_text().replace(str(base_folder("decoder-only")), "/gone/model"))
    with pytest.raises(InputError, match="base_model_name_or_path") as caught:
        prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    assert "\n" not in str(caught.value)


def test_a_base_model_that_is_stored_quantized_is_refused(base_folder: BaseFolder, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for file in base_folder("decoder-only").iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    plain_adapter(base, tmp_path / "adapter", target_modules=["q_proj"], task_type="CAUSAL_LM")
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="its weights are stored quantized"):
        prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()


def test_another_base_model_is_refused(base_folder: BaseFolder, tmp_path: Path) -> None:
    plain_adapter(base_folder("decoder-only"), tmp_path / "adapter", target_modules=["q_proj"], task_type="CAUSAL_LM")
    path = tmp_path / "adapter" / "adapter_config.json"
    other = base_folder("decoder-only", "gpt2")
    path.write_text(path.read_text().replace(str(base_folder("decoder-only")), str(other)))
    with pytest.raises(InputError, match="cannot be loaded onto"):
        prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()


def test_a_revision_is_that_of_the_hubs_cache(
    base_folder: BaseFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = plain_adapter(
        base_folder("decoder-only"), tmp_path / "adapter", target_modules=["q_proj"], task_type="CAUSAL_LM"
    )
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--owner--tiny"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "v2").write_text(commit)
    for file in base_folder("decoder-only").iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    path = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": "owner/tiny", "revision": "v2"}
    path.write_text(json.dumps(config))
    summary = prepare_merge(tmp_path / "adapter", tmp_path / "merged").write()
    assert (summary.base_model, summary.revision) == ("owner/tiny", "v2")
    card = (tmp_path / "merged" / "README.md").read_text()
    assert 'base_model: "owner/tiny"\nbase_model_relation: finetune\n' in card
    assert "- revision of the base model: v2\n" in card
    with quiet_libraries():
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert torch.allclose(answer(found), wanted, atol=1e-4)
    path.write_text(json.dumps(config | {"revision": "v3"}))
    with pytest.raises(InputError, match="owner/tiny' at revision 'v3': cannot be had"):
        prepare_merge(tmp_path / "adapter", tmp_path / "other").write()


def test_a_folder_in_use_and_a_type_that_is_none_are_refused_at_once(base_folder: BaseFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        prepare_merge(tmp_path, tmp_path / "mine")
    with pytest.raises(InputError, match="--dtype 'int8': is none of fp32, fp16, bf16"):
        prepare_merge(tmp_path, tmp_path / "out", dtype="int8")
