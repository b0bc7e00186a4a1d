"""Run the measurements that wait for a GPU, as many as fit into a slot of time.

    python studies/gpu/run.py --minutes 9 [--only NAME] [--output DIR] [--again]
    python studies/gpu/run.py --smoke              # every line once, on a CPU, tiny sizes

A part whose result file exists is done and is skipped, so repeated short slots work through the queue.
Needs torch, transformers, peft and scikit-learn; no optuna.
"""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from studies.gpu.entries import better_demo_bases, step_accuracy, throughput, training_end_to_end
from studies.gpu.entry import RESULTS, Entry, Part, Slot, machine, result_path, write_result

QUEUE: tuple[Entry, ...] = (
    training_end_to_end.ENTRY,
    step_accuracy.ENTRY,
    throughput.ENTRY,
    better_demo_bases.ENTRY,
)


def main(argv: list[str] | None = None) -> int:
    """Run what is pending; return 1 when a part failed, else 0."""
    arguments = parse(argv)
    slot = make_slot(arguments)
    print(f"device {slot.device}, {arguments.minutes:g} minutes", flush=True)
    rows, failed = [], False
    for entry in QUEUE:
        if arguments.only and entry.name != arguments.only:
            continue
        for part in entry.parts:
            state, result = run_part(slot, entry, part, again=arguments.again)
            failed |= state == "failed"
            rows.append((entry, part, state, result))
    print_table(rows)
    return int(failed)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="length of the slot (default 9)")
    parser.add_argument("--only", choices=[entry.name for entry in QUEUE], help="only this entry")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for result files")
    parser.add_argument("--device", choices=["auto", "cuda", "mps", "cpu"], default="auto")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; results go to a temporary folder")
    parser.add_argument("--again", action="store_true", help="run finished parts again")
    return parser.parse_args(argv)


def make_slot(arguments: argparse.Namespace) -> Slot:
    """Choose device, deadline and folders."""
    import torch

    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    work = Path(tempfile.mkdtemp(prefix="peft-advisor-gpu-"))
    # A smoke run must never leave files beside the real results unless told where.
    results = work / "results" if arguments.smoke and arguments.output == RESULTS else arguments.output
    return Slot(
        device=device,
        smoke=arguments.smoke,
        deadline=time.monotonic() + 60 * arguments.minutes,
        work=work,
        results=results,
    )


def run_part(slot: Slot, entry: Entry, part: Part, *, again: bool) -> tuple[str, dict[str, Any]]:
    """Run one part if it is pending and fits; return its state and what it measured."""
    path = result_path(slot, entry, part)
    if path.exists() and not again:
        return "done before", {}
    if not slot.smoke and slot.seconds_left < 60 * part.minutes:
        return "no time left", {}
    print(f"{entry.name} / {part.name} ...", flush=True)
    begun = time.monotonic()
    try:
        measured = part.measure(slot)
    except Exception:
        # One broken part must not cost the rest of a short slot of GPU time.
        traceback.print_exc()
        return "failed", {}
    duration_s = round(time.monotonic() - begun, 2)
    write_result(
        path,
        {
            "entry": entry.name,
            "part": part.name,
            "question": entry.question,
            "duration_s": duration_s,
            "machine": machine(slot.device),
            "measured": measured,
        },
    )
    return "measured", measured | {"duration_s": duration_s}


def print_table(rows: list[tuple[Entry, Part, str, dict[str, Any]]]) -> None:
    """Print one line per part, last of all, so that the tail of a log shows it."""
    print(f"\n{'entry / part':<52} {'state':<12} measured")
    for entry, part, state, result in rows:
        shown = ", ".join(f"{name} {_short(result[name])}" for name in entry.columns if name in result)
        print(f"{entry.name + ' / ' + part.name:<52} {state:<12} {shown}")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
