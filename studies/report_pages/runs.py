"""Make the run folders that are looked at: three real studies, and one whose data, labels and names are hostile."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from advisor.demo import base_model_path

# Names of files hold no slash; the strings of the data are those of the inputs for data loaders.
HOSTILE_NAME = "<img src=x onerror=alert(1)> ![x](y) {{7*7}} '; DROP TABLE runs;--"
COLUMN = '"><script>alert(1)<script>'
FEW = ("--max-steps", "32", "--time", "25m")
STUDIES = {
    "classification": ("clone-detection/scd-88-pairs", "encoder-only", "--sample", "1500", "--trials", "16"),
    "generation": ("code-summarization/csn-python-cosqa", "encoder-decoder", "--sample", "1200", "--trials", "12"),
    "retrieval": ("code-search/cosqa-retrieval", "encoder-only", "--split", "60/15/25", "--trials", "12"),
}
ROWS_PER_LABEL = 30


def make_runs(data: Path, folder: Path) -> list[Path]:
    """Run the three studies and the hostile one, about half an hour on a CPU; those that are there already stay.

    Args:
        data: Holds the datasets by task, and `malformed/20-injection-strings.jsonl`.
        folder: Where the run folders go.
    """
    for name, (dataset, base, *options) in STUDIES.items():
        _tune(folder / name, Path(base_model_path(base)), *_splits(data / dataset, options), *options, *FEW)
    _hostile(folder, data / "malformed" / "20-injection-strings.jsonl")
    return [folder / name for name in (*STUDIES, "hostile")]


def _splits(dataset: Path, options: list[str]) -> list[str]:
    task = ["--task", dataset.parent.name]
    if "--split" in options:  # the pairs of one file; its own train split is code alone
        return [*task, "--train", str(dataset / "valid.jsonl"), "--objective", "quality", "--objective", "latency"]
    files = {split: str(dataset / f"{split}.jsonl") for split in ("train", "valid", "test")}
    return [*task, *(part for split, path in files.items() for part in (f"--{split}", path))]


def _hostile(folder: Path, strings: Path) -> None:
    """Tune on a table whose labels, texts, ids, column and file are hostile, on a base model with such a name."""
    data, base = folder / "hostile-data", folder / HOSTILE_NAME
    data.mkdir(parents=True, exist_ok=True)
    shutil.copytree(base_model_path("encoder-only"), base, dirs_exist_ok=True)
    table = data / f"{HOSTILE_NAME}.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in _rows(strings)), encoding="utf-8")
    _tune(
        folder / "hostile", base, "--task", "code-classification", "--train", str(table), "--map", f"code={COLUMN}",
        "--split", "60/20/20", "--trials", "3", "--max-steps", "6", "--final-seeds", "1", "--no-full-baseline",
    )  # fmt: skip


def _rows(strings: Path) -> list[dict[str, str]]:
    """Return rows that can be learnt: the words of a text go with its label."""
    texts = [json.loads(line)["source"] for line in strings.read_text(encoding="utf-8").splitlines()]
    draw = random.Random(0)
    rows = [
        {"id": f"{text} {i}", COLUMN: f"{text} {' '.join(draw.choices(text.split(), k=9))} {i}", "label": text}
        for text in texts for i in range(ROWS_PER_LABEL)
    ]  # fmt: skip
    draw.shuffle(rows)
    return rows


def _tune(output: Path, base: Path, *options: str) -> None:
    if (output / "report.html").is_file():
        return
    command = [sys.executable, "-m", "advisor", "tune", "--model", str(base), *options, "--output", str(output)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with (output.parent / f"{output.name}.log").open("wb") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT, env=environment)
