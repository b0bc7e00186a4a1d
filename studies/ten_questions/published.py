"""Dry runs beside memory that other projects published for their own training loops.

Run from the repository root: `python -m studies.ten_questions.published`. The loops differ from the one that is
dry-run (their own models, adapters in bfloat16, losses in chunks), so this is a check of the order of size and of what
differs, not of accuracy; `studies/memory_accuracy` is that.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from advisor.dryrun.api import estimate

FOLDER = Path(__file__).parent
GB, GIB = 10**9, 2**30
# LoRA of rank 32 on queries and values, as in config_hub/finetune/*/lora.yaml of Lightning-AI/litgpt.
QUERIES_AND_VALUES = {"r": 32, "target_modules": ["q_proj", "v_proj"]}
# recipes/configs/llama3_1/8B_lora_single_device.yaml of pytorch/torchtune: batch 2, packed to 2048 tokens.
TORCHTUNE = {"r": 8, "lora_dropout": 0, "target_modules": ["q_proj", "v_proj", "o_proj"]}
LITGPT_TABLE = "litgpt, config_hub/finetune/README.md at 03ffc55"
TORCHTUNE_TABLE = "torchtune, README.md at 0031bfa"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published peak (`torch.cuda.max_memory_allocated`) and the same step for the dry run."""

    name: str
    source: str
    peak_bytes: float
    model: str
    options: dict[str, Any] = field(default_factory=dict)


def litgpt(name: str, gigabytes: float, model: str, batch_size: int, **options: Any) -> Published:
    """Return a row of LitGPT's table: 512 tokens, one A10G."""
    given = {"hyperparameters": QUERIES_AND_VALUES, "batch_size": batch_size, "seq_length": 512, **options}
    return Published(name=name, source=LITGPT_TABLE, peak_bytes=gigabytes * GB, model=model, options=given)


def torchtune(name: str, gibibytes: float, method: str) -> Published:
    """Return a row of torchtune's table: one RTX 4090, activation checkpointing, fused AdamW."""
    return Published(
        name=name, source=TORCHTUNE_TABLE, peak_bytes=gibibytes * GIB, model="meta-llama/Llama-3.1-8B",
        options={
            "method": method, "hyperparameters": TORCHTUNE, "batch_size": 2, "seq_length": 2048,
            "gradient_checkpointing": True, "optimizer": "adamw-fused", "holds_outputs": False,
        },
    )  # fmt: skip


ROWS = (
    litgpt("Llama 2 7B, LoRA", 19.77, "codellama/CodeLlama-7b-hf", 2),
    litgpt("Llama 2 7B, NF4 + LoRA", 13.68, "codellama/CodeLlama-7b-hf", 2, method="qlora"),
    litgpt("Mistral 7B, LoRA", 20.66, "mistralai/Mistral-7B-v0.1", 2),
    litgpt("Mistral 7B, NF4 + LoRA", 14.29, "mistralai/Mistral-7B-v0.1", 2, method="qlora"),
    litgpt("Llama 3.1 8B, LoRA", 19.73, "meta-llama/Llama-3.1-8B", 1),
    litgpt("Phi-2, LoRA on all layers", 13.98, "microsoft/phi-2", 4, hyperparameters={"r": 8}),
    litgpt(
        "Gemma 2B, LoRA on all layers", 12.62, "google/codegemma-2b", 2, hyperparameters={"r": 8, "lora_dropout": 0.1}
    ),
    torchtune("Llama 3.1 8B, LoRA", 16.2, "lora"),
    torchtune("Llama 3.1 8B, NF4 + LoRA", 7.4, "qlora"),
)


def main() -> None:
    """Dry-run all, print and write the table."""
    lines = [
        "# Dry runs beside published peaks of other loops", "",
        "Allocated peaks in GiB; logits is the part of the dry run's peak that is output of the head, its float32",
        "copies and their gradients.", "",
        "| published by | what | published | dry run | difference | logits |", "|---|---|--:|--:|--:|--:|",
    ]  # fmt: skip
    for row in ROWS:
        found = estimate(row.model, **row.options).estimate
        ours = found.peak_allocated_bytes
        difference = 100 * (ours / row.peak_bytes - 1)
        lines.append(
            f"| {row.source} | {row.name} | {row.peak_bytes / GIB:.2f} | {ours / GIB:.2f} | {difference:+.1f} % "
            f"| {found.logits_bytes / GIB:.2f} |"
        )
        print(lines[-1], flush=True)
    path = FOLDER / "results" / "published.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
