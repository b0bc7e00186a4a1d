"""The folder in which mistakes are made: small data, models that are broken on purpose, a run that is finished."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

from advisor.demo import base_model_path

TASK = "clone-detection"
DATA = ("--train", "train.jsonl", "--valid", "valid.jsonl", "--test", "test.jsonl")
# The least that is a study: one trial of two steps.
SMALL = ("--trials", "1", "--max-steps", "2", "--final-seeds", "1", "--no-full-baseline", "--pack", "off")
N_ROWS = {"train": 24, "valid": 12, "test": 12}


def make_world(folder: Path, *, with_run: bool) -> None:
    """Fill an empty folder.

    Args:
        folder: Where to.
        with_run: Whether to train the run `run`, which takes half a minute, and to cut `unfinished` from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_data(folder)
    _write_models(folder)
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").write_text("not to be touched\n")
    advisor(folder, "recommend", "--task", TASK, "--vram", "24", "--method", "lora", "--output", "rec.json")
    given = json.loads((folder / "rec.json").read_text(encoding="utf-8"))
    (folder / "newer.json").write_text(json.dumps(given | {"schema_version": 99}))
    (folder / "broken.json").write_text((folder / "rec.json").read_text(encoding="utf-8")[:200])
    if with_run:
        advisor(folder, "tune", "--task", TASK, "--model", "base", *DATA, *SMALL, "--output", "run")
        shutil.copytree(folder / "run", folder / "unfinished")
        (folder / "unfinished" / "result.json").unlink()


def advisor(folder: Path, *arguments: str) -> None:
    """Run the command line there; it must succeed."""
    command = [sys.executable, "-m", "advisor", *arguments]
    subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=True)


def environment() -> dict[str, str]:
    """Return the environment of every process: this source tree, no network, no data of the user's own."""
    kept = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1", "PEFT_ADVISOR_DATA": "data"}


def _write_data(folder: Path) -> None:
    for split, n_rows in N_ROWS.items():
        rows = [
            {"code1": f"def f(x): return x + {i} # {split}", "code2": f"def g(y): return {i} - y", "label": i % 2}
            for i in range(n_rows)
        ]
        _write_rows(folder / f"{split}.jsonl", rows)
        _write_rows(folder / f"{split}-words.jsonl", [row | {"label": ("no", "yes")[row["label"]]} for row in rows])
        _write_rows(folder / f"{split}-other.jsonl", [row | {"code1": f"# other\n{row['code1']}"} for row in rows])
    _write_rows(folder / "codes.jsonl", [{"text": "def f(x): return x"}])
    (folder / "empty.jsonl").write_text("")


def _write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_models(folder: Path) -> None:
    """Copy the smallest base model of the package, and break it in three ways."""
    shutil.copytree(base_model_path("encoder-only"), folder / "base")
    shutil.copytree(folder / "base", folder / "no-config", ignore=shutil.ignore_patterns("config.json"))
    shutil.copytree(folder / "base", folder / "pickled", ignore=shutil.ignore_patterns("model.safetensors"))
    # Weights in the old format would be run through Python's unpickler; that it is not opened at all is the point.
    (folder / "pickled" / "pytorch_model.bin").write_bytes(pickle.dumps({"weights": [0.0]}))
    shutil.copytree(folder / "base", folder / "own-code")
    config = json.loads((folder / "own-code" / "config.json").read_text(encoding="utf-8"))
    own = {"model_type": "mycoder", "auto_map": {"AutoModel": "modeling_mycoder.MyCoder"}}
    (folder / "own-code" / "config.json").write_text(json.dumps(config | own))
    (folder / "own-code" / "modeling_mycoder.py").write_text("raise SystemExit('this must not be run')\n")
