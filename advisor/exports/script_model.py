"""The lines of an exported script that load the base model and put the adapter on it, as `modeling` does."""

from advisor.exports.literals import literal
from advisor.exports.module_names import chosen_targets
from advisor.exports.plan import ExportHead, ExportPlan

# What the training loop takes of a candidate; all else belongs to PEFT.
TRAINING_NAMES = frozenset(
    {"learning_rate", "num_epochs", "weight_decay", "warmup_ratio", "lr_scheduler_type", "loraplus_lr_ratio"}
)
_AUTO_CLASSES: dict[ExportHead, str] = {
    "sequence-classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
}
_TASK_TYPES: dict[ExportHead, str] = {
    "sequence-classification": "SEQ_CLS", "causal-lm": "CAUSAL_LM", "seq2seq-lm": "SEQ_2_SEQ_LM",
    "embedding": "FEATURE_EXTRACTION",
}  # fmt: skip
_CONFIGS = {
    "lora": "LoraConfig", "lora-plus": "LoraConfig", "rslora": "LoraConfig", "dora": "LoraConfig", "ia3": "IA3Config",
    "prompt-tuning": "PromptTuningConfig", "prefix-tuning": "PrefixTuningConfig", "p-tuning": "PromptEncoderConfig",
    "layernorm-tuning": "LNTuningConfig",
}  # fmt: skip
# Methods that a script can have with PEFT alone.
SCRIPTED = frozenset(_CONFIGS)
# Tables of PEFT with its own choice of modules, by method.
_CHOICES = {
    **dict.fromkeys(
        ("lora", "lora-plus", "rslora", "dora"), "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING"
    ),
    "layernorm-tuning": "TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING",
}  # fmt: skip
_SOFT = frozenset({"prompt-tuning", "prefix-tuning", "p-tuning"})


def imports_of(plan: ExportPlan, extra: tuple[str, ...]) -> str:
    """Return the imports of a script that loads with transformers and PEFT.

    Args:
        plan: What is exported.
        extra: Further names of transformers.
    """
    candidate = plan.candidate
    full = candidate.method == "full"
    from_peft = [] if full else [_CONFIGS[candidate.method], "get_peft_model"]
    from_peft += ["prepare_model_for_kbit_training"] if candidate.quantization else []
    names = ["AutoTokenizer", _auto_class(plan), *extra]
    names += ["AutoConfig"] if plan.head == "sequence-classification" else []
    names += ["BitsAndBytesConfig"] if candidate.quantization else []
    lines = ["import torch"]
    lines += [f"from peft import {', '.join(sorted(from_peft, key=str.lower))}"] if from_peft else []
    if not full and "loraplus_lr_ratio" in candidate.hyperparameters:
        lines.append("from peft.optimizers import create_loraplus_optimizer")
    if candidate.method in _CHOICES and _targets_are_auto(plan):
        lines.append(f"from peft.utils.constants import {_CHOICES[candidate.method]}")
    lines.append(f"from transformers import {', '.join(sorted(names, key=str.lower))}")
    return "\n".join(lines) + "\n"


def loading_code(plan: ExportPlan) -> str:
    """Return `load_tokenizer` and `load_model`."""
    body = [*_base_model(plan), *_adapter(plan), "return model"]
    return _TOKENIZER + "\n\ndef load_model(tokenizer):\n" + "".join(f"    {line}".rstrip() + "\n" for line in body)


def unsloth_code(plan: ExportPlan) -> str:
    """Return `load` of a script for Unsloth."""
    candidate = plan.candidate
    full = candidate.method == "full"
    dtype = "torch.float32" if full else "getattr(torch, DTYPE)"
    lines = [
        "model, tokenizer = FastLanguageModel.from_pretrained(",
        "    model_name=BASE_MODEL,",
        "    max_seq_length=MAX_TOTAL_TOKENS,",
        f"    dtype={dtype},",
        f"    load_in_4bit={candidate.quantization == '4bit'},",
        f"    load_in_8bit={candidate.quantization == '8bit'},",
        f"    full_finetuning={full},",
        ")",
    ]
    if not full:
        lines += _unsloth_adapter(plan)
    return "def load():\n" + "".join(f"    {line}\n" for line in [*lines, "return model, tokenizer"])


def _unsloth_adapter(plan: ExportPlan) -> list[str]:
    """Return the call of `get_peft_model`; it forwards what it does not know itself to PEFT's LoraConfig."""
    targets = chosen_targets(plan)
    names = list((targets,) if isinstance(targets, str) else targets)
    named = '"all-linear"' if targets == "all-linear" else literal(names)
    flags = {"rslora": "use_rslora", "dora": "use_dora"}
    forced = f", {flags[plan.candidate.method]!r}: True" if plan.candidate.method in flags else ""
    return [
        "model = FastLanguageModel.get_peft_model(",
        "    model,",
        f"    target_modules={named},",
        "    use_gradient_checkpointing=GRADIENT_CHECKPOINTING,",
        "    random_state=SEED,",
        f"    **{{**ADAPTER{forced}}},",
        ")",
    ]


_TOKENIZER = """def load_tokenizer():
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer
"""


def _auto_class(plan: ExportPlan) -> str:
    if plan.head != "embedding":
        return _AUTO_CLASSES[plan.head]
    return "AutoModelForTextEncoding" if plan.candidate.architecture == "encoder-decoder" else "AutoModel"


def _base_model(plan: ExportPlan) -> list[str]:
    candidate = plan.candidate
    full = candidate.method == "full"
    dtype = "torch.float32" if full else 'getattr(torch, DTYPE) if device.type == "cuda" else torch.float32'
    lines = ['device = torch.device("cuda" if torch.cuda.is_available() else "cpu")', f"dtype = {dtype}"]
    arguments = ["BASE_MODEL", "dtype=dtype"]
    if plan.head == "sequence-classification":
        kind = "multi" if plan.task.form == "multi-label" else "single"
        lines += [
            "config = AutoConfig.from_pretrained(",
            "    BASE_MODEL,",
            "    num_labels=len(LABELS),",
            "    id2label=dict(enumerate(LABELS)),",
            "    label2id={label: number for number, label in enumerate(LABELS)},",
            f'    problem_type="{kind}_label_classification",',
            ")",
        ]
        arguments.append("config=config")
    if candidate.quantization is not None:
        lines += _quantization(plan)
        arguments += ["quantization_config=storage", 'device_map={"": 0}']
    lines.append(f"model = {_auto_class(plan)}.from_pretrained({', '.join(arguments)})")
    if plan.head == "embedding":
        lines += ['if getattr(model, "pooler", None) is not None:', "    model.pooler = None  # unused, so not trained"]
    lines += ["model.config.pad_token_id = tokenizer.pad_token_id"]
    if candidate.quantization is not None:
        lines.append("model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)")
    else:
        lines.append("model.to(device)")
    if candidate.gradient_checkpointing:
        lines += ["model.enable_input_require_grads()", 'model.gradient_checkpointing_enable({"use_reentrant": False})']
    return lines


def _quantization(plan: ExportPlan) -> list[str]:
    """NF4 with double quantization, as in QLoRA (arXiv:2305.14314, section 3); heads are trained, so not quantized."""
    settings = [f"load_in_{plan.candidate.quantization}=True"]
    if plan.candidate.quantization == "4bit":
        settings += ['bnb_4bit_quant_type="nf4"', "bnb_4bit_use_double_quant=True", "bnb_4bit_compute_dtype=dtype"]
    if plan.head == "sequence-classification":
        settings.append('llm_int8_skip_modules=["classifier", "score", "classification_head", "head"]')
    return ["storage = BitsAndBytesConfig(", *(f"    {setting}," for setting in settings), ")"]


def _adapter(plan: ExportPlan) -> list[str]:
    method = plan.candidate.method
    if method == "full":
        return []
    arguments = [f'task_type="{_TASK_TYPES[plan.head]}"', "**settings"]
    lines = ["settings = dict(ADAPTER)"]
    forced = {"rslora": 'settings["use_rslora"] = True', "dora": 'settings["use_dora"] = True'}
    lines += [forced[method]] if method in forced else []
    if method == "p-tuning":
        lines.append('settings.setdefault("encoder_hidden_size", model.config.hidden_size)')
    if method not in _SOFT:
        lines += _targets(plan)
        arguments.insert(1, "target_modules=targets")
    if plan.head == "sequence-classification":
        lines += [
            "heads = [",
            "    name",
            "    for name, module in model.named_children()",
            "    if name != model.base_model_prefix and any(True for _ in module.parameters())",
            "]",
            'settings["modules_to_save"] = [name for name in heads if name not in ("classifier", "score")] or None',
        ]
    lines += [
        f"model = get_peft_model(model, {_CONFIGS[method]}({', '.join(arguments)}))",
        "for parameter in model.parameters():",
        "    if parameter.requires_grad:",
        "        parameter.data = parameter.data.float()  # half precision would swallow small updates",
        "model.print_trainable_parameters()",
    ]
    return lines


def _targets_are_auto(plan: ExportPlan) -> bool:
    return plan.candidate.hyperparameters.get("target_modules", "auto") == "auto"


def _targets(plan: ExportPlan) -> list[str]:
    """Return the lines that find `targets`: None lets PEFT choose."""
    method = plan.candidate.method
    if not _targets_are_auto(plan):
        return ["targets = TARGET_MODULES"]
    if method == "ia3":
        return ["targets = None"]
    known = f"model.config.model_type in {_CHOICES[method]}"
    if method != "layernorm-tuning":
        return [f'targets = None if {known} else "all-linear"']
    return [
        "norms = [",
        "    name",
        "    for name, module in model.named_modules()",
        '    if type(module).__name__.lower().endswith(("layernorm", "rmsnorm"))',
        '    and not name.startswith(("classifier.", "score.", "head.", "classification_head."))',
        "]",
        f"targets = None if {known} else norms",
    ]
