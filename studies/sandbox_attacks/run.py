"""Let hostile programs loose in the sandbox and write down what became of each.

    python -m studies.sandbox_attacks.run [--output FILE] [--only NAME ...]

Every attack of `attacks.py` runs once behind the strongest walls that this machine offers, with small limits. After
each one the targets are looked at: files outside, listening sockets, the secret, processes left over, and the memory of
this process. Needs no root; about one and a half minutes.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from advisor.execution import protection, run_program
from studies.gpu.entry import machine
from studies.sandbox_attacks.arena import LIMITS, Arena, arena
from studies.sandbox_attacks.attacks import ATTACKS, KNOWN_HOLES, Attack

HERE = Path(__file__).parent


def main() -> int:
    """Run the attacks, write and print the table; the exit code says whether anything came out otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "attacks.json")
    parser.add_argument("--only", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    attacks = [one for one in ATTACKS if not arguments.only or one.name in arguments.only]
    found = protection()
    run_program("pass", limits=LIMITS, allow_execution=True)  # what is loaded once is not an attack's doing
    with arena() as targets:
        rows = [attempted(targets, one) for one in attacks]
    result = {
        "machine": machine("cpu"), "kernel": ".".join(os.uname().release.split(".")[:2]), "as_root": os.geteuid() == 0,
        "limits": asdict(LIMITS), "protection": found.lines(), "escapes": sum(len(row["escapes"]) for row in rows),
        "unexpected": [row["attack"] for row in rows if row["outcome"] not in row["expected"]], "attacks": rows,
    }  # fmt: skip
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print_table(rows)
    return 1 if result["escapes"] or result["unexpected"] else 0


def attempted(targets: Arena, attack: Attack) -> dict[str, Any]:
    """Run one attack and return its row."""
    before = memory_bytes()
    execution = run_program(targets.program(attack), limits=LIMITS, allow_execution=True)
    after = memory_bytes()
    print(f"  {attack.name}: {execution.outcome}", file=sys.stderr, flush=True)
    return {
        "attack": attack.name, "tries": attack.tries, "outcome": execution.outcome, "expected": attack.expected,
        "said": without_paths(targets, execution.error), "escapes": targets.escapes(execution),
        "known_hole": attack in KNOWN_HOLES,
        "duration_s": round(execution.duration_s, 2), "output_characters": len(execution.stdout + execution.stderr),
        "caller_resident_bytes": [before["VmRSS"], after["VmRSS"]],
        "caller_peak_bytes": [before["VmHWM"], after["VmHWM"]],
    }  # fmt: skip


def without_paths(targets: Arena, text: str) -> str:
    """Name the folders of this machine by what they are."""
    return text.replace(str(targets.folder), "OUTSIDE").replace(sys.base_prefix, "PYTHON")


def memory_bytes() -> dict[str, int]:
    """Return resident memory of this process, now (VmRSS) and at its highest (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split()[:2] for line in lines if line.startswith(("VmRSS:", "VmHWM:")))
    return {name.rstrip(":"): int(value) * 1024 for name, value in pairs}


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print one Markdown row per attack, and the totals."""
    print("| attack | tries | became | escaped | caller's memory, MiB |\n|---|---|---|---|--:|")
    for row in rows:
        mib = " → ".join(f"{size / 2**20:.1f}" for size in row["caller_resident_bytes"])
        said = f"{row['outcome']}{': ' + row['said'].replace('|', '/') if row['said'] else ''}"
        print(f"| {row['attack']} | {row['tries']} | {said} | {'; '.join(row['escapes']) or 'no'} | {mib} |")
    peaks = [size for row in rows for size in row["caller_peak_bytes"]]
    print(
        f"\n{len(rows)} attacks, {sum(bool(row['escapes']) for row in rows)} escaped, "
        f"{sum(row['outcome'] not in row['expected'] for row in rows)} ended otherwise than expected, "
        f"{sum(row['known_hole'] for row in rows)} known holes; the caller's peak memory grew by "
        f"{(max(peaks) - min(peaks)) / 2**20:.1f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
