"""How long `recommend` takes against importing click alone, side by side.

Run from the repository root: `python -m studies.recommend_startup.run`. Both commands start a fresh interpreter and
take turns, so that whatever else the machine does meets both.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from studies.gpu.entry import processor

FOLDER = Path(__file__).parent
COMMANDS = {
    "import click": ["-c", "import click"],
    "clone-detection": ["-m", "advisor", "recommend", "--task", "clone-detection", "--vram", "24"],
    "code-generation": ["-m", "advisor", "recommend", "--task", "code-generation", "--vram", "24"],
    "program-repair as JSON": ["-m", "advisor", "recommend", "--task", "program-repair", "--vram", "80", "--json"],
}
BASELINE = "import click"


def main() -> None:
    """Measure, print a table, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for arguments in COMMANDS.values():
        _duration_s(arguments)  # byte code and file cache are warm for both
    durations: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            durations[name].append(_duration_s(arguments))
    result = _result(durations, rounds)
    for name, row in result["commands"].items():
        print(f"{name:<24} median {row['median_s'] * 1000:6.0f} ms   ratio {row['median_ratio']:.2f}")
    path = FOLDER / "results" / f"{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _duration_s(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def _result(durations: dict[str, list[float]], rounds: int) -> dict[str, object]:
    """Ratios are taken within a round: both halves met the same machine."""
    return {
        "schema_version": 1,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)},
        "versions": {"python": platform.python_version(), "click": version("click")},
        "rounds": rounds,
        "commands": {
            name: {
                "median_s": round(statistics.median(values), 4),
                "fastest_s": round(min(values), 4),
                "median_ratio": round(
                    statistics.median(mine / base for mine, base in zip(values, durations[BASELINE], strict=True)), 3
                ),
            }
            for name, values in durations.items()
        },
    }


if __name__ == "__main__":
    main()
