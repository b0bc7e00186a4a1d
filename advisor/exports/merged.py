"""What can be merged: a saved adapter as its folder describes it, and which methods have nothing to be merged.

Only the folder is read here; weights are merged by `modeling.merging`, and `tuning.merging` joins the two. Not covered:
heads for tokens and for spans, several adapters at once, pickled weights.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.catalog.safetensors_header import read_header
from advisor.errors import DataError, InputError, printable
from advisor.exports.plan import ExportHead
from advisor.spec import Quantization

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_TASK_TYPES: Mapping[str, ExportHead] = {
    "SEQ_CLS": "sequence-classification",
    "CAUSAL_LM": "causal-lm",
    "SEQ_2_SEQ_LM": "seq2seq-lm",
    "FEATURE_EXTRACTION": "embedding",
}
# Of an adapter without a task type PEFT saves the class that it was on ("auto_mapping"); ends of its name, in order.
_CLASS_ENDS: tuple[tuple[str, ExportHead], ...] = (
    ("ForSequenceClassification", "sequence-classification"),
    ("ForCausalLM", "causal-lm"),
    ("LMHeadModel", "causal-lm"),
    ("ForConditionalGeneration", "seq2seq-lm"),
    ("ForSeq2SeqLM", "seq2seq-lm"),
    ("Model", "embedding"),
)
# Last layer of a classification head in transformers: its rows are the classes.
_LAST_OF_HEAD = (
    "classifier.weight", "score.weight", "classifier.out_proj.weight", "classification_head.out_proj.weight",
)  # fmt: skip
_PROMPT = "what it adds is read beside the text, which no weight does"
_NOT_LINEAR = "its adapters are not linear, so no weight does the same"
# Why a method cannot be merged, by PEFT's type. A test tries all methods of the catalogue.
UNMERGEABLE: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING", "CPT", "CARTRIDGE",
            "ADAPTION_PROMPT",
        ),
        _PROMPT,
    ),
    **dict.fromkeys(
        ("BOTTLENECK", "COMPACTER", "MAM", "FF_LORA_ADAPTER", "ADAPTER_STACK", "ADAPTER_FUSION"), _NOT_LINEAR
    ),
    "LILY": "PEFT does not merge it",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSource:
    """An adapter and what it stands on, or the whole weights of full fine-tuning.

    Attributes:
        folder: Of the adapter, or of the whole weights.
        method: For people: a slug of the catalogue, or PEFT's type.
        peft_type: PEFT's type; None for whole weights.
        base_model: Hub id or folder of the base model.
        revision: Of the base model on the hub, where the adapter names one.
        head: Head of the model.
        label_names: Classes in the order of their ids; empty where nothing is classified.
        is_multi_label: Whether an example has a set of classes.
        quantization: Storage of the base model in training, as far as that is known.
    """

    folder: Path
    method: str
    peft_type: str | None
    base_model: str
    revision: str | None
    head: ExportHead
    label_names: tuple[str, ...] = ()
    is_multi_label: bool = False
    quantization: Quantization | None = None


def read_adapter(folder: Path) -> MergeSource:
    """Read what the folder of a saved adapter says of it.

    Raises:
        DataError: No adapter is in the folder, or it is not described well enough.
        InputError: Its method cannot be merged.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        raise DataError(
            f"{folder}: neither the folder of a finished `tune` (result.json) nor a saved adapter ({ADAPTER_CONFIG})"
        )
    config = _json(folder / ADAPTER_CONFIG)
    peft_type, base_model, revision = (
        _text(config, name) for name in ("peft_type", "base_model_name_or_path", "revision")
    )
    if peft_type is None or base_model is None:
        missing = "peft_type" if peft_type is None else "base_model_name_or_path"
        raise DataError(f"{folder / ADAPTER_CONFIG}: does not say {missing}")
    check_mergeable(peft_type, peft_type.lower(), folder)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise DataError(f"{folder}: has no {ADAPTER_WEIGHTS}")
    head = _head(config, folder)
    known = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
    return MergeSource(
        folder=folder, method=peft_type.lower(), peft_type=peft_type, base_model=base_model, revision=revision,
        head=head, label_names=_label_names(known, folder) if head == "sequence-classification" else (),
        is_multi_label=known.get("problem_type") == "multi_label_classification",
    )  # fmt: skip


def check_mergeable(peft_type: str, method: str, folder: Path) -> None:
    """Refuse methods that are known to have nothing that weights could take up.

    Args:
        peft_type: PEFT's type.
        method: For people.
        folder: Of the adapter.

    Raises:
        InputError: With what to do in its place.
    """
    if peft_type in UNMERGEABLE:
        raise InputError(cannot_be_merged(peft_type, method, folder, UNMERGEABLE[peft_type]))


def cannot_be_merged(peft_type: str, method: str, folder: Path, why: str) -> str:
    """Return the line that says so, and how the adapter is used instead."""
    own = "after `import advisor.modeling.tuners` " if peft_type in OWN_PEFT_TYPES else ""
    return (
        f"{method} cannot be merged: {why}; keep the adapter {folder} and load it "
        f'{own}with PeftModel.from_pretrained(base_model, "{folder}")'
    )


def _head(config: Mapping[str, object], folder: Path) -> ExportHead:
    task_type = _text(config, "task_type")
    if task_type is not None and task_type in _TASK_TYPES:
        return _TASK_TYPES[task_type]
    mapping = config.get("auto_mapping")
    name = _text(mapping, "base_model_class") if isinstance(mapping, dict) else None
    if task_type is None and name is not None:
        for end, head in _CLASS_ENDS:
            if name.endswith(end):
                return head
    said = printable(task_type or name or "none", 60)
    raise DataError(
        f"{folder / ADAPTER_CONFIG}: cannot merge below this head (task_type {said}); known: {', '.join(_TASK_TYPES)}"
    )


def _label_names(config: Mapping[str, object], folder: Path) -> tuple[str, ...]:
    """Return the classes by config.json, or as transformers calls classes without a name."""
    names = config.get("id2label")
    if isinstance(names, dict) and names and all(str(number).isdecimal() for number in names):
        return tuple(str(names[number]) for number in sorted(names, key=int))
    rows = {shape[0] for name, shape in _shapes(folder / ADAPTER_WEIGHTS).items() if name.endswith(_LAST_OF_HEAD)}
    if len(rows) != 1:
        raise DataError(f"{folder}: does not say how many classes there are; put the classifier's config.json there")
    return tuple(f"LABEL_{number}" for number in range(rows.pop()))


def _shapes(file: Path) -> dict[str, list[int]]:
    """Return the shapes in the header of a safetensors file.

    Raises:
        DataError: There is no such header.
    """
    try:
        tensors = read_header(file).tensors
        return {name: tensor["shape"] for name, tensor in tensors.items() if tensor["shape"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: no safetensors file ({type(error).__name__})") from error


def _text(config: Mapping[str, object], name: str) -> str | None:
    value = config.get(name)
    return value if isinstance(value, str) and value else None


def _json(path: Path) -> dict[str, object]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({type(error).__name__})") from error
    return plain if isinstance(plain, dict) else {}
