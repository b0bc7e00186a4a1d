"""Train the demo bases longer than two processor cores can, with the same script."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from studies.gpu.entry import Entry, Part, Slot

SCRIPT = Path(__file__).resolve().parents[2] / "demo_bases" / "run.py"
MINUTES = 2.5


def train(name: str, slot: Slot) -> dict[str, Any]:
    """Run `studies/demo_bases/run.py` for one base; the trained folder goes beside the results."""
    output = slot.results / "demo_bases"
    options = ["--only", name, "--device", slot.device, "--output", str(output)]
    options += ["--smoke"] if slot.smoke else ["--minutes", str(max(1.0, min(MINUTES, slot.seconds_left / 60)))]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=False, cwd=slot.work
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return {"output": done.stdout[-4000:], **_last_json(done.stdout)}


def _last_json(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return {}


def _part(name: str) -> Part:
    return Part(name=name, minutes=MINUTES + 0.5, measure=lambda slot: train(name, slot))


ENTRY = Entry(
    name="better_demo_bases",
    question="How much better do the shipped tiny bases get when a GPU trains them with the same script?",
    parts=tuple(_part(name) for name in ("encoder", "decoder", "encoder-decoder")),
    columns=("valid_loss", "duration_s"),
)
