"""Golden recommendations: a change of evidence or of the ranking shows as a diff that a person reads.

After a change that is meant, `UPDATE_GOLDEN=1 pytest tests/recommendation/test_golden.py` writes them anew.
"""

import os
from pathlib import Path

import pytest

from advisor.recommendation import RankedCandidate, recommend
from advisor.spec import Budget, CodeTask

GOLDEN = Path(__file__).parents[1] / "golden"
QUESTIONS = {
    "clone-detection-24": {"task": "clone-detection", "vram_gib": 24},
    "clone-detection-4-memory": {"task": "clone-detection", "vram_gib": 4, "prefer": "memory"},
    "defect-detection-8": {"task": "defect-detection", "vram_gib": 8},
    "vulnerability-detection-24": {"task": "vulnerability-detection", "vram_gib": 24},
    "code-search-16": {"task": "code-search", "vram_gib": 16},
    "code-comment-classification-8": {"task": "code-comment-classification", "vram_gib": 8},
    "type-inference-t4": {"task": "type-inference", "gpu": "T4"},
    "log-anomaly-detection-12": {"task": "log-anomaly-detection", "vram_gib": 12},
    "code-summarization-16": {"task": "code-summarization", "vram_gib": 16},
    "code-summarization-16-speed": {"task": "code-summarization", "vram_gib": 16, "prefer": "speed"},
    "code-generation-8": {"task": "code-generation", "vram_gib": 8},
    "code-generation-24": {"task": "code-generation", "vram_gib": 24},
    "code-generation-h100": {"task": "code-generation", "gpu": "H100"},
    "code-completion-12": {"task": "code-completion", "vram_gib": 12},
    "code-translation-24": {"task": "code-translation", "vram_gib": 24},
    "program-repair-24": {"task": "program-repair", "vram_gib": 24},
    "program-repair-80": {"task": "program-repair", "vram_gib": 80},
    "unit-test-generation-24": {"task": "unit-test-generation", "vram_gib": 24},
    "commit-message-generation-16": {"task": "commit-message-generation", "vram_gib": 16},
    "log-parsing-8": {"task": "log-parsing", "vram_gib": 8},
    "codet5p-qlora-free": {"task": "code-summarization", "vram_gib": 8, "base_model": "Salesforce/codet5p-220m"},
    "codellama-qlora-24": {
        "task": "program-repair", "vram_gib": 24, "base_model": "codellama/CodeLlama-7b-hf", "method": "qlora",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_recommendation_is_the_golden_one(name):
    question = dict(QUESTIONS[name])
    budget = Budget(vram_gib=question.pop("vram_gib", None), gpu=question.pop("gpu", None))
    found = recommend(CodeTask(budget=budget, **question))
    text = "\n\n".join(_text(line) for line in found.candidates) + "\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "meant? UPDATE_GOLDEN=1 pytest tests/recommendation/test_golden.py"


def test_no_golden_file_is_left_behind():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(QUESTIONS)


def _text(line: RankedCandidate) -> str:
    stored = f"{line.precision} {line.quantization or 'unquantized'}"
    portions = f"{line.batch_size}" + (f" in {line.micro_batch_size}s" if line.micro_batch_size else "")
    settings = ", ".join(f"{name}={value}" for name, value in sorted(line.hyperparameters.items()))
    reasons = "\n".join(f"   {one.choice}: {one.text} {list(one.evidence) or ''}".rstrip() for one in line.reasons)
    return (
        f"{line.rank}. {line.method} on {line.base_model} ({line.confidence})\n"
        f"   {stored}, batch {portions}, {line.max_seq_length} tokens, {line.estimate.peak_memory_gib:.2f} GiB\n"
        f"   {settings}\n{reasons}"
    )
