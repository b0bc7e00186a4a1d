"""Train the demo bases longer than two processor cores can, with the same script."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from studies.gpu.entry import Entry, Part, Slot

ROOT = Path(__file__).resolve().parents[3]
MINUTES = 2.5


def train(name: str, slot: Slot) -> dict[str, Any]:
    """Run `studies/demo_bases` for one base; the trained folder goes beside the results."""
    options = ["--only", name, "--device", slot.device, "--output", str((slot.results / "demo_bases").absolute())]
    minutes = max(1.0, min(MINUTES, slot.seconds_left / 60))
    options += ["--smoke", "--steps", "3"] if slot.smoke else ["--minutes", str(minutes)]
    command = [sys.executable, "-m", "studies.demo_bases.run", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    trained: dict[str, Any] = json.loads(done.stdout)["models"][name]
    return trained


def _part(name: str) -> Part:
    return Part(name=name, minutes=MINUTES + 0.5, measure=lambda slot: train(name, slot))


ENTRY = Entry(
    name="better_demo_bases",
    question="How much better do the shipped tiny bases get when a GPU trains them with the same script?",
    parts=tuple(_part(name) for name in ("encoder", "decoder", "encoder-decoder")),
    columns=("n_steps", "valid_loss", "unigram_valid_loss", "duration_s"),
)
