"""What a queue entry is, and what every result file says about the machine it comes from."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
MAX_RESULT_BYTES = 1024 * 1024
PACKAGES = ("torch", "transformers", "peft", "accelerate", "scikit-learn", "safetensors", "bitsandbytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The time and place an entry may use.

    Attributes:
        device: torch's device name, "cuda", "mps" or "cpu".
        smoke: Tiny sizes, only to see that every line runs.
        deadline: `time.monotonic()` value after which no new part is begun.
        work: Empty folder for scratch files.
        results: Folder for result files.
    """

    device: str
    smoke: bool
    deadline: float
    work: Path
    results: Path

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline (negative when it has passed)."""
        return self.deadline - time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One independently measured piece of an entry; finished parts are never run again.

    Attributes:
        name: Unique in the entry; file-name safe.
        minutes: Time it needs on a GPU, roughly; it is begun only when that much is left.
        measure: Does the work and returns what was measured, JSON-ready.
    """

    name: str
    minutes: float
    measure: Callable[[Slot], dict[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One question that needs a GPU."""

    name: str
    question: str
    parts: tuple[Part, ...]
    columns: tuple[str, ...]


def machine(device: str) -> dict[str, Any]:
    """Describe the machine: accelerator or processor, cores, memory, versions, commit. No host name."""
    import torch

    facts: dict[str, Any] = {
        "device": device,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processor": processor(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_bytes": properties.total_memory,
            "cuda": torch.version.cuda,
            "compute_capability": f"{properties.major}.{properties.minor}",
        }
    return facts


def result_path(slot: Slot, entry: Entry, part: Part) -> Path:
    """Where the part's result stands; smoke results keep apart from real ones."""
    kind = "smoke" if slot.smoke else slot.device
    return slot.results / f"{entry.name}.{part.name}.{kind}.json"


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write one result file, whole or not at all.

    Raises:
        ValueError: The result would be larger than 1 MiB.
    """
    text = json.dumps(result, indent=1, sort_keys=True) + "\n"
    if len(text) > MAX_RESULT_BYTES:
        raise ValueError(f"{path.name}: {len(text)} bytes is more than a result file may have")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".json.part")
    temporary.write_text(text)
    temporary.replace(path)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the name of the CPU, or of its kind where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None
