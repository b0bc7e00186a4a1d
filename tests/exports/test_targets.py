"""Every target: fields that it publishes, values that are ours, and nothing of the user's that becomes code.

`published_fields.json` was read out of the packages named in it; `studies/exports` says how their own loaders read the
files.
"""

import ast
import json
from pathlib import Path

import pytest
import yaml

from advisor.catalog.methods import METHODS
from advisor.catalog.prompts import Prompt
from advisor.errors import InputError, UnknownNameError
from advisor.exports import TARGETS, export, find_target
from tests.exports.plans import HOSTILE, plan

FIELDS = {
    name: entry["fields"]
    for name, entry in json.loads(Path(__file__).with_name("published_fields.json").read_text(encoding="utf-8")).items()
}
YAML_TARGETS = ("llama-factory", "axolotl", "ms-swift", "torchtune", "ludwig")
SCRIPTS = ("peft", "transformers", "trl", "unsloth")
RUN = {"places": {"train": "t.jsonl", "valid": "v.jsonl"}, "n_train": 1000, "seed": 3}
# Fields that stand there only with a validation file; axolotl wants another one without.
VALIDATION = {"eval_dataset", "eval_strategy", "test_datasets", "val_dataset"}
CHECKPOINTED = {"gradient_checkpointing": True}


def text(target, made):
    """Return the file to run."""
    return export(made, TARGETS[target])[TARGETS[target].file_name]


def read(target, made):
    """Return what a YAML file says."""
    return yaml.safe_load(text(target, made))


def cases():
    """Yield every target with every method and storage that it has."""
    for name, target in TARGETS.items():
        for method in METHODS.values():
            for storage in (None, "4bit", "8bit") if method.works_quantized else (None,):
                made = plan(method.slug, candidate={"quantization": storage}, **RUN)
                if target.lacks(made) is None:
                    yield pytest.param(name, made, id=f"{name}-{method.slug}-{storage}")


CASES = list(cases())
YAML_CASES = [case for case in CASES if case.values[0] in YAML_TARGETS]
SCRIPT_CASES = [case for case in CASES if case.values[0] in SCRIPTS]


def test_every_target_has_lora_and_full_fine_tuning_of_a_decoder():
    for method in ("lora", "full"):
        assert [name for name, target in TARGETS.items() if target.lacks(plan(method)) is not None] == []


@pytest.mark.parametrize(("target", "made"), YAML_CASES)
def test_every_field_is_one_that_the_target_publishes(target, made):
    said, known = read(target, made), FIELDS[target]
    if target == "axolotl":
        assert set(said) <= set(known["config"])
        assert set(said["datasets"][0]) <= set(known["dataset"])
        assert set(said["datasets"][0]["type"]) <= set(known["type"])
    elif target == "torchtune":
        for part in (value for value in said.values() if isinstance(value, dict) and "_component_" in value):
            component = part.pop("_component_")
            if component.startswith("torchtune."):
                # Whatever `instruct_dataset` does not know goes to `datasets.load_dataset`.
                assert set(part) - {"data_files"} <= set(known[component]), component
    elif target == "ludwig":
        assert set(said) <= set(known["config"])
        assert set(said["trainer"]) <= set(known["trainer"])
        assert set(said["trainer"]["learning_rate_scheduler"]) <= set(known["learning_rate_scheduler"])
        assert set(said.get("quantization", {})) <= set(known["quantization"])
        adapter = said.get("adapter", {"type": "lora"})
        assert set(adapter) - {"type"} <= set(known[adapter["type"]])
    else:
        assert set(said) <= set(known)


def test_llama_factory_says_the_candidate_in_its_own_names():
    made = plan("lora-plus", candidate={"quantization": "4bit", **CHECKPOINTED}, **RUN)
    said = read("llama-factory", made)
    expected = {
        "model_name_or_path": "Qwen/Qwen2.5-Coder-7B", "finetuning_type": "lora", "lora_rank": 16, "lora_alpha": 32,
        "lora_dropout": 0.05, "lora_target": "all", "loraplus_lr_ratio": 20.0, "quantization_bit": 4,
        "quantization_type": "nf4", "double_quantization": True, "cutoff_len": 384, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4, "learning_rate": 1e-4, "num_train_epochs": 5.0, "lr_scheduler_type": "linear",
        "warmup_ratio": 0.05, "weight_decay": 0.01, "bf16": True, "fp16": False, "seed": 3,
        "disable_gradient_checkpointing": False, "use_dora": False, "use_rslora": False,
    }  # fmt: skip
    assert {name: said[name] for name in expected} == expected
    data = json.loads(export(made, TARGETS["llama-factory"])["dataset_info.json"])
    assert data["train"]["file_name"] == "t.jsonl"
    assert data["valid"]["columns"] == {"prompt": "source", "response": "target"}


def test_axolotl_says_the_candidate_in_its_own_names():
    said = read("axolotl", plan("dora", candidate={"quantization": "8bit"}, **RUN))
    expected = {
        "adapter": "lora", "load_in_8bit": True, "load_in_4bit": False, "lora_r": 16, "lora_alpha": 32,
        "lora_target_linear": True, "peft_use_dora": True, "peft_use_rslora": False, "micro_batch_size": 4,
        "gradient_accumulation_steps": 4, "num_epochs": 5.0, "learning_rate": 2e-4, "lr_scheduler": "linear",
        "warmup_ratio": 0.05, "weight_decay": 0.01, "sequence_len": 384, "bf16": True, "gradient_checkpointing": False,
    }  # fmt: skip
    assert {name: said[name] for name in expected} == expected
    assert read("axolotl", plan(candidate={"quantization": "4bit"}))["adapter"] == "qlora"


def test_prompts_of_a_run_stand_around_the_source_also_with_braces():
    prompt = Prompt(name="chat", before="<|user|>{x} ", after="{}<|assistant|>")
    made = plan(prompt=prompt, **RUN)
    framed = read("axolotl", made)["datasets"][0]["type"]["format"]
    assert framed.format(instruction="SOURCE") == "<|user|>{x} SOURCE{}<|assistant|>"
    framed = read("ludwig", made)["prompt"]["template"]
    assert framed.format(source="SOURCE") == "<|user|>{x} SOURCE{}<|assistant|>"
    assert read("torchtune", made)["tokenizer"]["prompt_template"] == {"user": ["<|user|>{x} ", "{}<|assistant|>"]}
    assert constant(text("trl", made), "PROMPT") == ("<|user|>{x} ", "{}<|assistant|>", False)


def test_ms_swift_says_the_candidate_in_its_own_names():
    said = read("ms-swift", plan("rslora", candidate={"quantization": "4bit", **CHECKPOINTED}, **RUN))
    expected = {
        "tuner_type": "lora", "lora_rank": 32, "lora_alpha": 16, "use_rslora": True, "target_modules": ["all-linear"],
        "quant_method": "bnb", "quant_bits": 4, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "bfloat16", "torch_dtype": "bfloat16", "max_length": 384,
        "columns": {"source": "query", "target": "response"}, "gradient_checkpointing": True, "data_seed": 3,
    }  # fmt: skip
    assert {name: said[name] for name in expected} == expected


def test_ms_swift_classifies_one_text_by_numbers():
    made = plan(task="defect-detection", labels=("0", "1"), **RUN)
    said = read("ms-swift", made)
    assert (said["task_type"], said["num_labels"], said["columns"]) == (
        "seq_cls",
        2,
        {"code": "query", "label": "label"},
    )
    for lacking, why in (
        (plan(task="defect-detection", labels=("bad", "good")), "classes with names"),
        (plan(task="defect-detection"), "before the classes are known"),
        (plan(task="clone-detection", labels=("0", "1")), "one text and one label"),
    ):
        with pytest.raises(InputError, match=why):
            export(lacking, TARGETS["ms-swift"])


def test_torchtune_names_builder_layers_and_steps_of_warm_up():
    said = read("torchtune", plan(hyperparameters={"target_modules": "auto"}, **RUN))
    model = said["model"]
    assert model["_component_"] == "torchtune.models.qwen2_5.lora_qwen2_5_7b_base"
    assert (model["lora_attn_modules"], model["apply_lora_to_mlp"]) == (["q_proj", "v_proj"], False)
    # 1000 rows in batches of 16 are 63 steps an epoch, 315 in five; 5 % of them are 15.75.
    assert said["lr_scheduler"]["num_warmup_steps"] == 16
    assert (said["batch_size"], said["gradient_accumulation_steps"], said["dtype"]) == (4, 4, "bf16")


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (plan(base_model="bigcode/starcoder2-3b"), "builder"),
        (plan(candidate={"quantization": "8bit"}), "8-bit"),
        (plan(candidate={"precision": "fp16"}), "fp16"),
        (plan(hyperparameters={"lr_scheduler_type": "polynomial"}), "lr_scheduler_type"),
        (plan(hyperparameters={"target_modules": ["gate_proj"]}), "target_modules"),
        (plan("rslora"), "method rslora"),
    ],
)
def test_torchtune_refuses_what_it_does_not_have(made, why):
    with pytest.raises(InputError, match=why):
        export(made, TARGETS["torchtune"])


def test_ludwig_says_the_candidate_in_its_own_names():
    said = read("ludwig", plan("dora", candidate={"quantization": "4bit"}, **RUN))
    assert said["adapter"] == {
        "type": "lora", "r": 16, "alpha": 32, "dropout": 0.05, "use_rslora": False, "use_dora": True,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }  # fmt: skip
    assert said["trainer"]["learning_rate_scheduler"] == {"decay": "linear", "warmup_fraction": 0.05}
    assert said["trainer"]["optimizer"] == {"type": "adamw", "weight_decay": 0.01}
    with pytest.raises(InputError, match="by name"):
        export(plan(base_model="someone/unknown"), TARGETS["ludwig"])
    with pytest.raises(InputError, match="ia3 on a quantized base model"):
        export(plan("ia3", candidate={"quantization": "4bit"}), TARGETS["ludwig"])


def test_a_target_that_lacks_something_names_those_that_have_it():
    clones = plan(task="clone-detection", architecture="encoder-only", base_model="microsoft/codebert-base")
    with pytest.raises(
        InputError, match=r"axolotl does not have clone-detection .*; targets that can: peft, transformers$"
    ):
        export(clones, TARGETS["axolotl"])
    with pytest.raises(InputError, match=r"method prefix-tuning; targets that can: peft, transformers, trl$"):
        export(plan("prefix-tuning"), TARGETS["llama-factory"])


def test_an_unknown_target_is_told_the_nearest_names():
    with pytest.raises(UnknownNameError, match="axolotl"):
        find_target("axolot")


def constant(source, name):
    """Return the value that a script assigns to a name."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{name} is not assigned")


@pytest.mark.parametrize(("target", "made"), SCRIPT_CASES)
def test_scripts_compile_and_hold_the_candidate(target, made):
    source = text(target, made)
    compile(source, target, "exec")
    source.encode("ascii")
    candidate = made.candidate
    assert constant(source, "BASE_MODEL") == candidate.base_model
    assert constant(source, "LEARNING_RATE") == candidate.hyperparameters["learning_rate"]
    assert (constant(source, "BATCH_SIZE"), constant(source, "MICRO_BATCH_SIZE"), constant(source, "SEED")) == (
        16,
        4,
        3,
    )
    assert constant(source, "EPOCHS") == candidate.hyperparameters["num_epochs"]
    if candidate.method != "full":
        adapter = constant(source, "ADAPTER")
        assert {name: candidate.hyperparameters[name] for name in adapter} == adapter
        assert ("r" in adapter) == ("r" in candidate.hyperparameters)
    assert ("load_in_4bit=True" in source) == (candidate.quantization == "4bit")
    if candidate.quantization == "4bit" and target != "unsloth":
        assert 'bnb_4bit_quant_type="nf4"' in source
        assert "bnb_4bit_use_double_quant=True" in source


@pytest.mark.parametrize("target", ["trl", "unsloth"])
def test_arguments_of_scripts_are_those_that_the_libraries_publish(target):
    calls = {
        getattr(call.func, "id", getattr(call.func, "attr", "")): {word.arg for word in call.keywords if word.arg}
        for call in ast.walk(ast.parse(text(target, plan(candidate=CHECKPOINTED, **RUN))))
        if isinstance(call, ast.Call)
    }
    assert calls["SFTConfig"] <= set(FIELDS["trl"])
    if target == "unsloth":
        for name, known in FIELDS["unsloth"].items():
            assert calls[name] <= set(known)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_hostile_text_of_the_user_stays_text(target):
    adapted = {"target_modules": ["q_proj", "v_proj"]}
    for bad in HOSTILE:
        made = plan(
            base_model="Qwen/Qwen2.5-Coder-7B" if target == "torchtune" else f"x{bad}",
            hyperparameters=adapted, places={"train": f"{bad}.jsonl"},
            columns={"source": f"s{bad}" if target != "ludwig" else "source", "target": "target"},
            prompt=Prompt(before=bad, after=bad),
        )  # fmt: skip
        files = export(made, TARGETS[target])
        if target in YAML_TARGETS:
            said = yaml.safe_load(files[TARGETS[target].file_name])
            assert set(said) - {"val_set_size"} == set(read(target, plan(hyperparameters=adapted, **RUN))) - VALIDATION
            found = texts_in([said, *map(json.loads, list(files.values())[1:])])
            assert target == "torchtune" or f"x{bad}" in found
            place = f"{bad}.jsonl"
            assert target == "ludwig" or place in found or place.replace("${", "\\${") in found
        else:
            source = files[TARGETS[target].file_name]
            assert constant(source, "BASE_MODEL") == f"x{bad}"
            assert constant(source, "TRAIN_FILE") == f"{bad}.jsonl"
            assert constant(source, "COLUMNS")["source"] == f"s{bad}"


def texts_in(value):
    """Return all texts in nested lists and mappings."""
    if isinstance(value, dict):
        return {text for pair in value.items() for part in pair for text in texts_in(part)}
    if isinstance(value, list):
        return {text for part in value for text in texts_in(part)}
    return {value} if isinstance(value, str) else set()


def test_what_a_target_cannot_say_stands_in_its_file():
    said = text("llama-factory", plan())
    assert "instruction" in said.split("stage:")[0]
    assert "PEFT's own choice of modules" in text(
        "axolotl", plan(base_model="someone/unknown", hyperparameters={"target_modules": "auto"})
    )
    assert "keeps them in fp32" in text("axolotl", plan("full"))
    assert "num_warmup_steps" in text("torchtune", plan()).split("output_dir:")[0]


def test_the_same_plan_gives_the_same_bytes():
    for target in TARGETS.values():
        assert export(plan(**RUN), target) == export(plan(**RUN), target)


@pytest.mark.parametrize("name", ["axolotl", "llama-factory", "ludwig", "ms-swift", "torchtune", "trl"])
def test_every_file_that_is_offered_was_read_as_meant_by_the_target_s_own_loader(name):
    path = Path(__file__).parents[2] / "studies" / "exports" / "results" / f"{name}.json"
    verdicts = json.loads(path.read_text(encoding="utf-8"))["verdicts"]
    for method in METHODS.values():
        for storage in (None, "4bit", "8bit") if method.works_quantized else (None,):
            made = plan(method.slug, candidate={"quantization": storage}, **RUN)
            offered = TARGETS[name].lacks(made) is None
            verdict = verdicts.get(f"{method.slug}, {storage or 'not quantized'}", "not offered")
            assert verdict == ("equal" if offered else "not offered")
