"""LLaMA-Factory: a YAML file for `llamafactory-cli train`, and the description of the data beside it.

Names of fields: `FinetuningArguments` (src/llamafactory/hparams/finetuning_args.py), `ModelArguments`
(model_args.py), `DataArguments` (data_args.py) of hiyouga/LLaMA-Factory 0.9.5, and transformers' `TrainingArguments`,
which its own extend. Files of data are described in `dataset_info.json` of `dataset_dir` (data/README.md there):
`get_dataset_list` takes the description itself too, but then `_load_single_dataset` finds no local files.
"""

import json
from collections.abc import Mapping

from advisor.exports.module_names import chosen_targets
from advisor.exports.notes import head_of_file, infilling_limits, length_limits, target_limits
from advisor.exports.plan import ExportPlan
from advisor.exports.trainer_arguments import trainer_arguments
from advisor.exports.yaml_text import yaml_text
from advisor.trial import Split

FILE_NAME = "llama-factory.yaml"
DATA_FILE = "dataset_info.json"


def render(plan: ExportPlan) -> str:
    """Return the file."""
    candidate = plan.candidate
    chat = plan.prompt is not None and plan.prompt.name == "chat"
    limits = [*length_limits(plan), *infilling_limits(plan), *target_limits(plan)]
    if plan.prompt is None:
        limits.insert(0, 'With a chat model leave out `template: "empty"`: its own chat template is taken then.')
    limits.insert(0, "Source and answer are all it reads: the instruction and the marks around them cannot be said.")
    values: dict[str, object] = {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": candidate.base_model,
        "trust_remote_code": False,
        **_method(plan),
        **_quantization(plan),
        "dataset_dir": ".",
        "dataset": "train",
        **({"eval_dataset": "valid", "eval_strategy": "epoch"} if _has_validation(plan) else {}),
        **({} if chat else {"template": "empty"}),
        "cutoff_len": plan.max_total_tokens,
        **trainer_arguments(plan),
        "disable_gradient_checkpointing": not candidate.gradient_checkpointing,
        "seed": plan.seed,
        "output_dir": "output",
        "save_strategy": "epoch",
        "report_to": "none",
    }
    comments = {"dataset_dir": "Files and columns of the data stand in dataset_info.json, beside this file."}
    return yaml_text(
        values,
        comments,
        head=head_of_file(
            plan, "LLaMA-Factory", f"llamafactory-cli train {FILE_NAME} (in the folder of this file)", limits
        ),
    )


def data_files(plan: ExportPlan) -> Mapping[str, str]:
    """Return the description of the data, by the name of its file."""
    described = {name: _described(plan, split) for name, split in _splits(plan).items()}
    return {DATA_FILE: json.dumps(described, indent=2) + "\n"}


def _method(plan: ExportPlan) -> dict[str, object]:
    if plan.candidate.method == "full":
        return {"finetuning_type": "full"}
    targets = chosen_targets(plan)
    named = targets if isinstance(targets, str) else ",".join(targets)
    values: dict[str, object] = {
        "finetuning_type": "lora",
        "lora_rank": plan.whole("r", 8),
        "lora_alpha": plan.whole("lora_alpha", 16),
        "lora_dropout": plan.number("lora_dropout", 0.0),
        "lora_target": "all" if named == "all-linear" else named,
        "use_rslora": plan.candidate.method == "rslora" or bool(plan.candidate.hyperparameters.get("use_rslora")),
        "use_dora": plan.candidate.method == "dora" or bool(plan.candidate.hyperparameters.get("use_dora")),
    }
    if "loraplus_lr_ratio" in plan.candidate.hyperparameters:
        values["loraplus_lr_ratio"] = plan.number("loraplus_lr_ratio", 1.0)
    return values


def _quantization(plan: ExportPlan) -> dict[str, object]:
    if plan.candidate.quantization is None:
        return {}
    values: dict[str, object] = {
        "quantization_method": "bnb", "quantization_bit": 4 if plan.candidate.quantization == "4bit" else 8
    }  # fmt: skip
    if plan.candidate.quantization == "4bit":
        values |= {"quantization_type": "nf4", "double_quantization": True}
    return values


def _has_validation(plan: ExportPlan) -> bool:
    return not plan.places or "valid" in plan.places


def _splits(plan: ExportPlan) -> dict[str, Split]:
    return {"train": "train", "valid": "valid"} if _has_validation(plan) else {"train": "train"}


def _described(plan: ExportPlan, split: Split) -> dict[str, object]:
    return {
        "file_name": plan.place(split),
        "formatting": "alpaca",
        "columns": {"prompt": plan.columns["source"], "response": plan.columns["target"]},
    }
