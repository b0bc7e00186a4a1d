"""How long `--help` of every command takes, beside importing click alone.

Run from the repository root: `python -m studies.help_startup.run`. Every command starts a fresh interpreter; all take
turns, so that whatever else the machine does meets each of them.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click

from advisor.cli import COMMANDS, group
from studies.gpu.entry import processor

FOLDER = Path(__file__).parent
BASELINE = "import click"
LIMIT_S = 0.3


def main() -> None:
    """Measure, print a table, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    commands = {BASELINE: ["-c", "import click"]} | {name: ["-m", "advisor", *name.split()] for name in help_pages()}
    durations: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for arguments in commands.values():
        _measure(arguments)  # byte code and file cache are warm for all
    for _ in range(rounds):
        for name, arguments in commands.items():
            durations[name].append(_measure(arguments))
    rows = {name: _row(values) for name, values in durations.items()}
    for name, row in rows.items():
        print(f"{name:<28} median {row['median_s'] * 1000:5.0f} ms   CPU {row['median_cpu_s'] * 1000:5.0f} ms")
    result = {
        "schema_version": 1,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)},
        "versions": {"python": platform.python_version(), "click": version("click")},
        "rounds": rounds,
        "limit_s": LIMIT_S,
        "commands": rows,
    }
    path = FOLDER / "results" / f"{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def help_pages() -> list[str]:
    """Return what is typed after the name of the program for every help page."""
    pages = ["--help"]
    for name in COMMANDS:
        pages.append(f"{name} --help")
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            inner = [one for one, found in command.commands.items() if not found.hidden]
            pages += [f"{name} {one} --help" for one in inner]
    return pages


def _measure(arguments: list[str]) -> tuple[float, float]:
    """Return seconds on the clock and of the processor; with byte code, as an installed program has it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = _used_s(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, env=environment)
    return time.perf_counter() - start, _used_s() - before


def _used_s() -> float:
    """Return the processor time of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(values: list[tuple[float, float]]) -> dict[str, float]:
    return {
        "median_s": round(statistics.median(one[0] for one in values), 4),
        "fastest_s": round(min(one[0] for one in values), 4),
        "median_cpu_s": round(statistics.median(one[1] for one in values), 4),
    }


if __name__ == "__main__":
    main()
