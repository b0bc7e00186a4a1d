"""Which methods of the catalogue can be trained on a quantized base model?

The three demonstration base models are loaded with bitsandbytes, in 4 bits (NF4, double quantization) and the decoder
in 8 bits too, on the CPU. Every method is attached, trained for two steps, saved, and loaded onto a base model that was
loaded anew. What the catalogue says of a method (`works_quantized`) is not asked, so that it can be compared.

Usage:
    pip install bitsandbytes
    python -m studies.quantized_methods.run [--methods lora,ia3] [--bases decoder-only-4bit]
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BitsAndBytesConfig

from advisor.candidates import Candidate
from advisor.catalog.method import OWN_PEFT_TYPES
from advisor.catalog.methods import METHODS, find_method
from advisor.catalog.tasks import find_task, head_of
from advisor.demo.base_models import base_model_path
from advisor.modeling.attachment import AttachedModel, attach_adapter, load_adapter
from advisor.modeling.base import AUTO_CLASSES, BaseModel, BaseRequest
from advisor.modeling.quiet import quiet_libraries
from advisor.spec import Architecture, Quantization
from tests.training.methods import NOT_AT_THE_BASE_MODEL, SMALL

HERE = Path(__file__).parent
CPU = torch.device("cpu")
LABELS = ("no", "perhaps", "yes")
BASES: tuple[tuple[Architecture, Quantization], ...] = (
    ("decoder-only", "4bit"), ("encoder-only", "4bit"), ("encoder-decoder", "4bit"), ("decoder-only", "8bit"),
)  # fmt: skip
TASKS: dict[Architecture, str] = {
    "encoder-only": "clone-detection", "encoder-decoder": "code-summarization", "decoder-only": "code-summarization",
}  # fmt: skip
COMPOSED = ("adapter-stack", "adapter-fusion")
STEPS, RATE = 2, 1e-3
# 8-bit products round their inputs anew each time, but alike.
EQUAL, NEAR = 1e-5, 0.2


def quantized_base(architecture: Architecture, quantization: Quantization) -> BaseModel:
    """Load a demonstration base model as `load_base_model` does, which wants a GPU for it."""
    from peft import prepare_model_for_kbit_training

    folder = base_model_path(architecture)
    head = head_of(find_task(TASKS[architecture]), architecture)
    request = BaseRequest(
        base_model=str(folder), architecture=architecture, head=head,
        label_names=LABELS if head == "sequence-classification" else (), weights="fp32", quantization=quantization,
    )  # fmt: skip
    skipped = ["classifier"] if request.label_names else None
    storage = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    if quantization == "4bit":
        storage = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32, llm_int8_skip_modules=skipped,
        )  # fmt: skip
    labels = {"num_labels": len(LABELS)} if request.label_names else {}
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(0)
        model: Any = AUTO_CLASSES[head].from_pretrained(
            folder, quantization_config=storage, device_map={"": "cpu"}, dtype=torch.float32, **labels
        )
        prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.requires_grad_(False).eval()
    return BaseModel(
        request=request, source=str(folder), model=model, tokenizer=tokenizer, device=CPU, max_positions=None
    )


def batch(base: BaseModel) -> dict[str, torch.Tensor]:
    """Return two rows of 16 tokens."""
    ids = torch.randint(10, 300, (2, 16), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2]) if base.request.label_names else ids.clone()
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def answer(attached: AttachedModel) -> tuple[torch.Tensor, float]:
    """Return logits and loss."""
    attached.model.eval()
    with torch.no_grad():
        outputs: Any = attached.model(**batch(attached.base))
    return outputs.logits, float(outputs.loss)


def fingerprint(base: BaseModel) -> list[torch.Tensor]:
    """Return copies of the quantized weights."""
    return [one.detach().clone() for one in base.model.parameters() if not one.is_floating_point()]


def candidate_for(method: str, architecture: Architecture) -> Candidate:
    """Return a small candidate that does not say that its base model is quantized."""
    values = {**find_method(method).hyperparameters(architecture), **SMALL.get(method, {}), "learning_rate": RATE}
    return Candidate(
        base_model=str(base_model_path(architecture)), architecture=architecture, method=method, hyperparameters=values
    )


def tried(method: str, architecture: Architecture, quantization: Quantization) -> dict[str, Any]:
    """Try one method on one base model; return how far it came."""
    row: dict[str, Any] = {"method": method, "base": f"{architecture}-{quantization}", "failed_at": None}
    stage = "attach"
    try:
        used = quantized_base(architecture, quantization)
        bare, _ = answer(AttachedModel(base=used, model=used.model))
        base = quantized_base(architecture, quantization)
        chosen = candidate_for(method, architecture)
        attached = attach_adapter(base, chosen, seed=5)
        before = fingerprint(base)  # not earlier: OLoRA takes a part of the weights into the adapter
        start, row["loss_before"] = answer(attached)
        row["start_off_by"] = None if base.request.label_names else _off(start, bare)
        stage = "start"
        if row["start_off_by"] is not None and method not in NOT_AT_THE_BASE_MODEL and row["start_off_by"] > NEAR:
            raise ValueError(f"begins {row['start_off_by']:.2g} away from the base model")
        stage = "train"
        _train(attached)
        trained, row["loss_after"] = answer(attached)
        if not all(torch.equal(*pair) for pair in zip(before, fingerprint(base), strict=True)):
            raise ValueError("quantized weights were changed")
        row["on_quantized"] = _n_on_quantized(attached)
        stage = "load again"
        with tempfile.TemporaryDirectory() as folder:
            attached.save(Path(folder) / "saved")
            again = load_adapter(quantized_base(architecture, quantization), chosen, Path(folder) / "saved")
            row["reload_off_by"] = _off(answer(again)[0], trained)
        if row["reload_off_by"] > EQUAL:
            raise ValueError(f"off by {row['reload_off_by']:.2g} after loading")
        stage = "attach to a used base"
        attach_adapter(used, chosen, seed=5)
    except Exception as error:  # every failure is a result here
        row["failed_at"], row["error"] = stage, " ".join(str(error).split())[:160] or type(error).__name__
    return row


def _train(attached: AttachedModel) -> None:
    optimizer = torch.optim.AdamW(attached.trainable_parameters, lr=RATE)
    attached.model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(STEPS):
            outputs: Any = attached.model(**batch(attached.base))
            outputs.loss.backward()
            for parameter in attached.trainable_parameters:
                if parameter.grad is None or not torch.isfinite(parameter.grad).all():
                    raise ValueError("a trained weight has no finite gradient")
            optimizer.step()
            optimizer.zero_grad()


def _off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the distance of logits as a share of their length; a soft prompt's own positions do not count."""
    found = found[:, -wanted.shape[1] :]
    return float((found - wanted).norm() / wanted.norm())


def _n_on_quantized(attached: AttachedModel) -> int:
    """Count the quantized layers that an adapter wraps."""
    return sum(
        any(not one.is_floating_point() for one in layer.get_base_layer().parameters(recurse=False))
        for layer in attached.model.modules()
        if hasattr(layer, "get_base_layer") and hasattr(layer, "base_layer")
    )


def asked(
    methods: Sequence[str] | None, bases: Sequence[str] | None
) -> Iterator[tuple[str, Architecture, Quantization]]:
    """Yield what is to be tried."""
    for architecture, quantization in BASES:
        if bases and f"{architecture}-{quantization}" not in bases:
            continue
        head = head_of(find_task(TASKS[architecture]), architecture)
        model_type = {"decoder-only": "llama", "encoder-only": "roberta", "encoder-decoder": "t5"}[architecture]
        for slug, method in METHODS.items():
            possible = method.supports(architecture, head) and method.works_on(model_type)
            if slug != "full" and slug not in COMPOSED and possible and (not methods or slug in methods):
                yield slug, architecture, quantization


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the results as Markdown: a row per method, a column per base model."""
    columns = [f"{architecture}-{quantization}" for architecture, quantization in BASES]
    found = {(row["method"], row["base"]): row for row in rows}
    lines = ["| method | catalogue | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for slug in (one for one in METHODS if any(row["method"] == one for row in rows)):
        own = " (ours)" if find_method(slug).peft_type in OWN_PEFT_TYPES else ""
        said = "yes" if find_method(slug).works_quantized else "no"
        cells = [_cell(found.get((slug, column))) for column in columns]
        lines.append(f"| {slug}{own} | {said} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not tried"
    if row["failed_at"] is None:
        return "works" if row["loss_after"] < row["loss_before"] else "works; two steps leave the loss as it was"
    return f"{row['failed_at']}: {row['error'][:70].replace('|', '/')}"


def main() -> None:
    """Try what is asked and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", help="slugs with commas, whose results are renewed; all without it")
    parser.add_argument("--bases", help="such as decoder-only-4bit; all without it")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = arguments.results / "methods.json"
    rows = (
        json.loads(kept.read_text(encoding="utf-8"))["rows"]
        if kept.exists() and (arguments.methods or arguments.bases)
        else []
    )
    wanted = asked(*(value.split(",") if value else None for value in (arguments.methods, arguments.bases)))
    for method, architecture, quantization in wanted:
        # What was asked for again takes the place of its earlier row.
        rows = [row for row in rows if (row["method"], row["base"]) != (method, f"{architecture}-{quantization}")]
        rows.append(tried(method, architecture, quantization))
        print(f"{method:18} {architecture:16} {quantization} {_cell(rows[-1])}", flush=True)
    versions = {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}
    record = {"machine": platform.machine(), "device": "cpu", "versions": versions, "rows": rows}
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "methods.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (arguments.results / "table.md").write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
