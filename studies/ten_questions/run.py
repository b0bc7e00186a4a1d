"""Ten questions that a user would ask, answered by the command line.

Run from the repository root: `python -m studies.ten_questions.run`. Each command is a process of its own, as a user
would start it. `results/answers.md` has command and answer; the README says what to think of them.
"""

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent
ANSWERS = FOLDER / "results" / "answers.md"
BOFT = (FOLDER / "boft_adapter_config.json").relative_to(FOLDER.parents[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question in a user's words and the commands that answer it."""

    text: str
    commands: tuple[str, ...]


QUESTIONS = (
    Asked(
        text="Does 4-bit Qwen2.5-Coder-7B with r=64 at 2k tokens fit in 16 GB, and with which batch?",
        commands=(
            "--model Qwen/Qwen2.5-Coder-7B --method qlora --set r=64 --gradient-checkpointing --seq-len 2048"
            " --vram 16 --max batch-size",
            "--model Qwen/Qwen2.5-Coder-7B --method qlora --set r=64 --gradient-checkpointing --seq-len 2048"
            " --gpu 'RTX 4060 Ti 16GB' --optimizer paged-adamw-8bit",
            "--model Qwen/Qwen2.5-Coder-7B --method qlora --set r=64 --gradient-checkpointing --vram 16 --max seq-len",
        ),
    ),
    Asked(
        text="What is the longest sequence for LoRA on CodeLlama-7B with 24 GB?",
        commands=(
            "--model codellama/CodeLlama-7b-hf --gpu 'RTX 3090' --max seq-len",
            "--model codellama/CodeLlama-7b-hf --gpu 'RTX 3090' --gradient-checkpointing --max seq-len",
        ),
    ),
    Asked(
        text="Can CodeBERT be fine-tuned in full on 8 GB?",
        commands=(
            "--model microsoft/codebert-base --method full --autocast --drop-outputs --batch-size 16 --gpu 'RTX 3070'"
            " --examples 21000",
            "--model microsoft/codebert-base --method full --autocast --drop-outputs --gpu 'RTX 3070' --max batch-size",
        ),
    ),
    Asked(
        text="Is DoRA affordable where LoRA is: a 3B model at 12 GB?",
        commands=(
            "--model bigcode/starcoder2-3b --method lora --batch-size 2 --gpu 'RTX 3060'",
            "--model bigcode/starcoder2-3b --method dora --batch-size 2 --gpu 'RTX 3060'",
            "--model bigcode/starcoder2-3b --method dora --set lora_dropout=0 --batch-size 2 --gpu 'RTX 3060'"
            " --gradient-checkpointing",
        ),
    ),
    Asked(
        text="Does prefix tuning of CodeT5+ 770M run on a T4, which has no bfloat16?",
        commands=(
            "--model Salesforce/codet5p-770m --method prefix-tuning --batch-size 8 --target-len 128 --gpu T4",
            "--model Salesforce/codet5p-770m --method prefix-tuning --batch-size 8 --gpu T4 --precision bf16",
        ),
    ),
    Asked(
        text="Do eight LoRA adapters for CodeBERT train side by side in 16 GB?",
        commands=(
            "--model microsoft/codebert-base --pack 8 --batch-size 16 --seq-len 256 --gpu T4",
            "--model microsoft/codebert-base --pack 1 --batch-size 16 --seq-len 256 --gpu T4",
        ),
    ),
    Asked(
        text="Does evaluation break it: generating 256 tokens for 32 prompts with a 1.5B model on 24 GB?",
        commands=(
            "--model Qwen/Qwen2.5-Coder-1.5B --seq-len 1024 --evaluate 32 --new-tokens 256 --gpu 'RTX 3090'",
            "--model Qwen/Qwen2.5-Coder-1.5B --seq-len 1024 --evaluate 32 --gpu 'RTX 3090'",
        ),
    ),
    Asked(
        text="Full fine-tuning of a 1.3B model on 24 GB: AdamW or Adafactor?",
        commands=(
            "--model deepseek-ai/deepseek-coder-1.3b-base --method full --gpu 'RTX 3090' --optimizer adamw",
            "--model deepseek-ai/deepseek-coder-1.3b-base --method full --gpu 'RTX 3090' --optimizer adafactor",
            "--model deepseek-ai/deepseek-coder-1.3b-base --method full --gpu 'RTX 3090' --optimizer adamw"
            " --precision fp32",
        ),
    ),
    Asked(
        text="8 or 4 bits for CodeLlama-13B on 24 GB?",
        commands=(
            "--model codellama/CodeLlama-13b-hf --quantization 8bit --gradient-checkpointing --gpu 'RTX 4090'",
            "--model codellama/CodeLlama-13b-hf --quantization 4bit --gradient-checkpointing --gpu 'RTX 4090'",
        ),
    ),
    Asked(
        text="What does an adapter_config.json of my own take, here BOFT on a 0.5B model?",
        commands=(
            f"--model Qwen/Qwen2.5-Coder-0.5B --adapter-config {BOFT} --batch-size 4 --gpu 'RTX 3060'",
            f"--model Qwen/Qwen2.5-Coder-0.5B --adapter-config {BOFT} --batch-size 4 --gpu 'RTX 3060' --method ia3",
        ),
    ),
)


def main() -> None:
    """Ask all, write the answers."""
    parts = ["# Ten questions and what the command said", "", _circumstances(), ""]
    for number, asked in enumerate(QUESTIONS, 1):
        parts += [f"## {number}. {asked.text}", ""]
        for command in asked.commands:
            print(f"{number}. {command}", flush=True)
            parts += _answer(command)
    ANSWERS.parent.mkdir(exist_ok=True)
    ANSWERS.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def _answer(command: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "advisor", "estimate", *shlex.split(command)],
        capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    said = (done.stdout + done.stderr).rstrip()
    code = f"(exit code {done.returncode})" if done.returncode else ""
    lines = [f"$ peft-advisor estimate {command}", said, *([code] if code else [])]
    return ["```text", *lines, "```", ""]


def _circumstances() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    return f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {versions}."


if __name__ == "__main__":
    main()
