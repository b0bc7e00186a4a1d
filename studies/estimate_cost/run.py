"""Seconds and memory of `peft-advisor estimate`, beside importing the libraries it needs.

Run from the repository root: `python -m studies.estimate_cost.run`. Fresh processes take turns, so that whatever else
the machine does meets all; ratios are taken within a round.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from studies.gpu.entry import processor

FOLDER = Path(__file__).parent
BASELINE = "import torch, transformers, peft"
MODEL = ("--model", "Qwen/Qwen2.5-Coder-7B", "--seq-len", "2048", "--gpu", "RTX 4090")
ESTIMATES: dict[str, tuple[str, ...]] = {
    "LoRA": MODEL,
    "LoRA, 4 bits, checkpointing": (*MODEL, "--method", "qlora", "--gradient-checkpointing"),
    "LoRA, 4 bits, --max batch-size": (*MODEL, "--method", "qlora", "--gradient-checkpointing", "--max", "batch-size"),
    "refused: --set r": (*MODEL, "--set", "r"),
}
# Three calls in one process: the first imports everything.
WARM = """
import time
from advisor.dryrun.api import estimate
for _ in range(3):
    begun = time.perf_counter()
    estimate("Qwen/Qwen2.5-Coder-7B", seq_length=2048, gpu="RTX 4090", {options})
    print(time.perf_counter() - begun)
"""
WARM_CALLS = {
    "LoRA": WARM.format(options=""),
    "LoRA, 4 bits, checkpointing": WARM.format(options="quantization='4bit', gradient_checkpointing=True"),
}
SHOWN_PACKAGES = 10


def main() -> None:
    """Measure, print a table, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    commands = {BASELINE: ["-c", BASELINE]}
    commands |= {name: ["-m", "advisor", "estimate", *words] for name, words in ESTIMATES.items()}
    for arguments in commands.values():
        _run(arguments)  # byte code and file cache are warm for all
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            runs[name].append(_run(arguments))
    result = {
        "schema_version": 1, "finished_at": datetime.now(UTC).isoformat(timespec="seconds"), "rounds": rounds,
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)},
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")}
        | {"python": platform.python_version()},
        "cold": {name: _row(runs[name], runs[BASELINE]) for name in commands},
        "warm_s": {name: _warm_s(code) for name, code in WARM_CALLS.items()},
        "import_s_by_package": _import_s(),
    }  # fmt: skip
    _print(result)
    path = FOLDER / "results" / f"{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _run(arguments: list[str]) -> tuple[float, int]:
    """Run Python; return seconds and the most bytes that it held in memory."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # reaped above
    return time.perf_counter() - begun, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _row(runs: list[tuple[float, int]], baseline: list[tuple[float, int]]) -> dict[str, float]:
    ratios = [mine / base for (mine, _), (base, _) in zip(runs, baseline, strict=True)]
    return {
        "median_s": round(statistics.median(duration for duration, _ in runs), 3),
        "fastest_s": round(min(duration for duration, _ in runs), 3),
        "median_ratio": round(statistics.median(ratios), 3),
        "peak_resident_bytes": max(nbytes for _, nbytes in runs),
    }


def _warm_s(code: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [round(float(line), 3) for line in done.stdout.split()]


def _import_s() -> dict[str, float]:
    """Return what importing the dry run takes, by the package whose modules take it."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import advisor.dryrun.answers"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    microseconds: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        own, _, module = line.removeprefix("import time:").split("|") if line.count("|") == 2 else ("", "", "")
        if own.strip().isdigit():
            microseconds[module.strip().split(".")[0]] += int(own)
    shown = {name: round(taken / 1e6, 3) for name, taken in microseconds.most_common(SHOWN_PACKAGES)}
    return {**shown, "all": round(sum(microseconds.values()) / 1e6, 3)}


def _print(result: dict[str, Any]) -> None:
    for name, row in result["cold"].items():
        memory = f"{row['peak_resident_bytes'] / 2**30:.2f} GiB"
        print(f"{name:<40} median {row['median_s']:6.2f} s   ratio {row['median_ratio']:.2f}   {memory}")
    for name, durations in result["warm_s"].items():
        print(f"{name:<40} in one process: {', '.join(f'{duration:.2f} s' for duration in durations)}")
    print("import:", ", ".join(f"{name} {taken:.2f} s" for name, taken in result["import_s_by_package"].items()))


if __name__ == "__main__":
    main()
