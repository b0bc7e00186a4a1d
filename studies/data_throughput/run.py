"""How fast datasets are read, compared and tokenized, and how memory and time grow with their rows.

Run from the repository root: `python -m studies.data_throughput.run SOURCE.jsonl [--rows 10000 100000 1000000]`, where
SOURCE.jsonl is a real dataset with a column of code. Rows are made from lines of its functions; one in fifty repeats
an earlier row and one in twenty repeats it with a token changed. Every size runs in a process of its own; times are CPU
seconds (other work on the machine counts little), memory is the process's peak.
"""

import argparse
import json
import math
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from studies.gpu.entry import processor

FOLDER = Path(__file__).parent
STAGES = ("read", "exact", "near", "tokens")
_LINES_PER_ROW = 8
_SEED = 0


def main() -> None:
    """Make the data of each size, measure it, print a table, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(args.measure)))
        return
    sizes = []
    for n_rows in args.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "data.jsonl"
            write_rows(path, lines_of(args.source), n_rows)
            command = [sys.executable, "-m", "studies.data_throughput.run", str(args.source), "--measure", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            sizes.append({"rows": n_rows, "bytes": path.stat().st_size, "stages": json.loads(done.stdout)})
        print(json.dumps(sizes[-1]), flush=True)
    result = {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("datasketch", "tokenizers", "numpy")},
        "source": "/".join(args.source.parts[-3:]),
        "sizes": sizes,
        "growth_exponents": growth_exponents(sizes),
    }
    (FOLDER / "results" / "cpu.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["growth_exponents"]))


def lines_of(source: Path) -> list[str]:
    """Return the lines of code of a real dataset that hold more than a bracket."""
    lines = []
    with source.open(encoding="utf-8") as file:
        for row in map(json.loads, file):
            code = row.get("code") or row.get("source") or row["code1"]
            lines += [line for line in code.split("\n") if len(line.strip()) > 3]
    return lines


def write_rows(path: Path, lines: list[str], n_rows: int) -> None:
    """Write rows of a classification task; labels say nothing."""
    with path.open("w", encoding="utf-8") as file:
        for number, code in enumerate(made_code(lines, n_rows)):
            file.write(json.dumps({"id": number, "code": code, "label": number % 2}) + "\n")


def made_code(lines: list[str], n_rows: int) -> Iterator[str]:
    """Yield code made of random lines; some of it repeats earlier code, exactly or nearly."""
    rng = random.Random(_SEED)
    earlier: list[str] = []
    for _ in range(n_rows):
        chance = rng.random()
        if earlier and chance < 0.07:
            code = rng.choice(earlier)
            yield code if chance < 0.02 else f"{code}\nchanged_{rng.randrange(10**9)}"
            continue
        code = "\n".join(rng.choice(lines) for _ in range(_LINES_PER_ROW))
        if len(earlier) < 10_000:
            earlier.append(code)
        yield code


def measure(path: Path) -> list[dict[str, float | int | str]]:
    """Go through the stages with one dataset; memory is the peak up to the end of each stage."""
    from advisor.catalog.tasks import find_task
    from advisor.data.duplicates import Inputs
    from advisor.data.examples import read_examples
    from advisor.data.near_duplicates import mark_near
    from advisor.demo import base_model_path

    task = find_task("defect-detection")
    found: list[dict[str, float | int | str]] = []

    def note(stage: str, began_s: float, n_found: int) -> None:
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        spent_s = time.process_time() - began_s
        found.append({"stage": stage, "cpu_s": round(spent_s, 3), "peak_bytes": peak_bytes, "found": n_found})

    began_s = time.process_time()
    examples = read_examples(path, task).examples
    note("read", began_s, len(examples))
    began_s = time.process_time()
    inputs = Inputs.of({"train": examples}, task)
    note("exact", began_s, len(inputs.repeated("train")))
    began_s = time.process_time()
    marks = mark_near([example.source for example in inputs.samples], [1] * len(inputs.samples))
    note("near", began_s, sum(map(bool, marks.near_earlier)))
    del inputs, marks
    from advisor.modeling.token_counter import token_counter

    counter = token_counter(str(base_model_path("encoder-only")))
    counter.count(["warm up"])
    began_s = time.process_time()
    texts = [example.text for example in examples]
    n_tokens = sum(sum(counter.count(texts[start : start + 500])) for start in range(0, len(texts), 500))
    note("tokens", began_s, n_tokens)
    return found


def growth_exponents(sizes: list[dict[str, object]]) -> dict[str, float]:
    """Return for each stage the slope of log time over log rows between the smallest and the largest size."""
    if len(sizes) < 2:
        return {}
    first, last = sizes[0], sizes[-1]
    grown = math.log(last["rows"] / first["rows"])  # type: ignore[operator]
    return {
        stage: round(math.log(last["stages"][place]["cpu_s"] / first["stages"][place]["cpu_s"]) / grown, 3)  # type: ignore[index]
        for place, stage in enumerate(STAGES)
    }


if __name__ == "__main__":
    main()
