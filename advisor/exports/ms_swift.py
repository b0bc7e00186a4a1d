"""ms-swift: a YAML file for `swift sft`.

Names of fields: `SftArguments` (swift/arguments/sft_args.py) with `TunerArguments` (tuner_args.py), `base_args/*.py`
and `TrainArgumentsMixin` (swift/trainers/arguments.py) of modelscope/ms-swift 4.6; the file itself is read by
`parse_yaml_args` (swift/cli/main.py). Version 4 calls `tuner_type` what version 3 called `train_type`.
"""

from advisor.exports.module_names import chosen_targets
from advisor.exports.notes import head_of_file, infilling_limits, length_limits, target_limits
from advisor.exports.plan import ExportPlan
from advisor.exports.trainer_arguments import trainer_arguments
from advisor.exports.yaml_text import yaml_text

FILE_NAME = "ms-swift.yaml"
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def refuses(plan: ExportPlan) -> str | None:
    """Say why a plan cannot be said in ms-swift's terms, None where it can."""
    if plan.number("warmup_ratio", 0.0) >= 1:
        return "a warmup_ratio of 1 or more"
    if plan.head == "sequence-classification" and plan.task.form != "single":
        return f"classification of this form ({plan.task.form}): it reads one text and one label"
    if plan.head == "sequence-classification" and not plan.labels:
        return "classification before the classes are known: export the folder of a finished run"
    if plan.head == "sequence-classification" and any(label != str(i) for i, label in enumerate(plan.labels)):
        return "classes with names: it reads numbers from 0 on"
    return None


def render(plan: ExportPlan) -> str:
    """Return the file."""
    candidate = plan.candidate
    classifies = plan.head == "sequence-classification"
    limits = [*target_limits(plan)]
    if not classifies:
        limits = [
            "Source and answer are all it reads: the instruction and the marks around them cannot be said.",
            *length_limits(plan), *infilling_limits(plan), *limits,
        ]  # fmt: skip
    chat = plan.prompt is not None and plan.prompt.name == "chat"
    values: dict[str, object] = {
        "model": candidate.base_model,
        "use_hf": True,
        "torch_dtype": "float32" if candidate.method == "full" else _DTYPES[candidate.precision],
        **({"task_type": "seq_cls", "num_labels": len(plan.labels)} if classifies else {"task_type": "causal_lm"}),
        **({"problem_type": "single_label_classification"} if classifies else {}),
        **_method(plan),
        **_quantization(plan),
        "dataset": [plan.place("train")],
        **({"val_dataset": [plan.place("valid")]} if not plan.places or "valid" in plan.places else {}),
        "columns": _columns(plan, classifies),
        "use_chat_template": chat and not classifies,
        "max_length": plan.max_total_tokens,
        "truncation_strategy": "right" if classifies else "left",
        **trainer_arguments(plan),
        "gradient_checkpointing": candidate.gradient_checkpointing,
        "seed": plan.seed,
        "data_seed": plan.seed,
        "output_dir": "output",
    }
    return yaml_text(values, {}, head=head_of_file(plan, "ms-swift", f"swift sft {FILE_NAME}", limits))


def _columns(plan: ExportPlan, classifies: bool) -> dict[str, str]:
    if classifies:
        return {plan.columns["code"]: "query", plan.columns["label"]: "label"}
    return {plan.columns["source"]: "query", plan.columns["target"]: "response"}


def _method(plan: ExportPlan) -> dict[str, object]:
    if plan.candidate.method == "full":
        return {"tuner_type": "full"}
    targets = chosen_targets(plan)
    values: dict[str, object] = {
        "tuner_type": "lora",
        "lora_rank": plan.whole("r", 8),
        "lora_alpha": plan.number("lora_alpha", 16),
        "lora_dropout": plan.number("lora_dropout", 0.0),
        "target_modules": [targets] if isinstance(targets, str) else list(targets),
        "use_rslora": plan.candidate.method == "rslora" or bool(plan.candidate.hyperparameters.get("use_rslora")),
        "use_dora": plan.candidate.method == "dora" or bool(plan.candidate.hyperparameters.get("use_dora")),
    }
    if "loraplus_lr_ratio" in plan.candidate.hyperparameters:
        values["lorap_lr_ratio"] = plan.number("loraplus_lr_ratio", 1.0)
    return values


def _quantization(plan: ExportPlan) -> dict[str, object]:
    if plan.candidate.quantization is None:
        return {}
    if plan.candidate.quantization == "8bit":
        return {"quant_method": "bnb", "quant_bits": 8}
    return {
        "quant_method": "bnb", "quant_bits": 4, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": _DTYPES[plan.candidate.precision],
    }  # fmt: skip
