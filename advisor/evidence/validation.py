"""Check the knowledge files: run `python -m advisor.evidence.validation`; the tests do the same.

A row that breaks the schema, names a paper that is not there, or holds a number that cannot be (a learning rate of
30, an accuracy of 130 %) would quietly bend the advice. Every problem is one line: file, row, field, what is wrong.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from advisor.catalog.base_models import Trait
from advisor.catalog.files import knowledge_folder
from advisor.catalog.methods import ARCHITECTURES
from advisor.catalog.shapes import read_shape
from advisor.catalog.tasks import TASKS
from advisor.evidence.papers import Caveat
from advisor.evidence.query import GENERAL
from advisor.evidence.rows import Kind, OutcomeName, Seen

Row = Mapping[str, Any]
Problems = Iterator[str]

_URL = re.compile(r"https?://[^\s/]+\.[^\s]+$")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]*$")
_ID = re.compile(r"([a-z0-9]+)-\d{3}$")
_MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])$")
# Ranges of hyperparameters: (least, greatest), both inclusive; what lies outside is a slip of the pen.
_HYPERPARAMETERS = {
    "lr": (1e-8, 0.999), "r": (1, 1024), "dropout": (0, 0.9), "epochs": (0.1, 200), "num_virtual_tokens": (1, 1000),
    "weight_decay": (0, 1), "warmup_ratio": (0, 1), "max_seq_len": (8, 1_000_000), "max_seq_length": (8, 1_000_000),
}  # fmt: skip
_REGIMES = {"prompted-base", "post-trained", "task-fine-tuned", "zero-shot-embedding"}
_UNITS = {"percent": 100.0, "points (0-100)": 100.0, "fraction": 1.0, "elo": 5000.0}


def problems(folder: Path) -> list[str]:
    """Return every problem of the knowledge files in a folder, none when all is well."""
    files = {name: _read(folder / f"{name}.jsonl") for name in ("papers", "evidence", "models", "gpus", "capabilities")}
    papers = {row.get("key") for row in files["papers"]}
    models = {row.get("hf_id") for row in files["models"]}
    found = [
        *_file("papers", "key", files["papers"], check_paper),
        *_file("evidence", "id", files["evidence"], lambda row: check_evidence(row, papers)),
        *_file("models", "hf_id", files["models"], check_model),
        *_file("gpus", "name", files["gpus"], check_gpu),
        *_file("capabilities", "", files["capabilities"], lambda row: check_capability(row, models)),
    ]
    aliases = [alias for row in files["gpus"] for alias in row.get("aliases", ())]
    found += [f"gpus: alias {alias} is not unique" for alias in _repeated(aliases)]
    return found


def check_paper(row: Row) -> Problems:
    """Yield the problems of a row of papers.jsonl."""
    yield from _texts(row, "key", "title", "short")
    yield from _number(row.get("year"), "year", 1980, 2035)
    yield from _url(row.get("url"), "url")
    yield from _subset(row.get("caveats"), get_args(Caveat), "caveats")
    if row.get("in_slr") not in (True, False, "unknown"):
        yield "in_slr must be true, false or unknown"


def check_evidence(row: Row, papers: Iterable[str | None]) -> Problems:
    """Yield the problems of a row of evidence.jsonl."""
    named = _ID.match(str(row.get("id")))
    if not named or named.group(1) != row.get("paper"):
        yield "id must be the paper's key and three digits"
    if row.get("paper") not in papers:
        yield f"paper {row.get('paper')} is not in papers.jsonl"
    yield from _texts(row, "finding")
    yield from _one_of(row.get("kind"), get_args(Kind), "kind")
    yield from _task(row)
    yield from _one_of(row.get("architecture"), (*ARCHITECTURES, None), "architecture")
    yield from _subset(row.get("caveats", []), get_args(Caveat), "caveats")
    if row.get("method") is not None and not _SLUG.match(str(row["method"])):
        yield f"method {row['method']!r} is not a slug"
    yield from _source(row.get("source"))
    yield from _score(row)
    yield from _settings(row.get("hyperparameters") or {})
    for name, value in (row.get("resources") or {}).items():
        if isinstance(value, (int, float)) and value <= 0:
            yield f"resources.{name} must be positive, not {value}"
    for said in row.get("outcomes") or ():
        yield from _one_of(said.get("outcome"), get_args(OutcomeName), "outcomes.outcome")
        yield from _texts(said, "method", "versus")


def check_model(row: Row) -> Problems:
    """Yield the problems of a row of models.jsonl."""
    yield from _texts(row, "hf_id", "family", "transformers_model_type", "auto_class", "source")
    yield from _one_of(row.get("architecture"), ARCHITECTURES, "architecture")
    yield from _subset(row.get("traits"), get_args(Trait), "traits")
    yield from _number(row.get("params"), "params", 1e6, 1e12)
    yield from _number(row.get("context_length"), "context_length", 64, 1e7, optional=True)
    if row.get("released") is not None and not _MONTH.match(str(row["released"])):
        yield f"released {row['released']!r} is not a month"
    yield from (f"unverified_fields: no field {name}" for name in row.get("unverified_fields", ()) if name not in row)
    try:
        shape = read_shape(str(row.get("transformers_model_type")), row.get("config") or {})
    except (KeyError, ValueError) as error:
        yield f"config: {error}"
        return
    dense = not {"mixture-of-experts", "multimodal"}.intersection(row.get("traits") or ())
    if dense and isinstance(row.get("params"), int) and not 0.9 < shape.parameters / row["params"] < 1.1:
        yield f"params {row['params']} do not agree with the sizes in config ({shape.parameters})"


def check_gpu(row: Row) -> Problems:
    """Yield the problems of a row of gpus.jsonl."""
    yield from _texts(row, "name")
    yield from _one_of(row.get("vendor"), ("nvidia", "amd", "apple"), "vendor")
    yield from _one_of(row.get("supports_bf16"), (True, False, None), "supports_bf16")
    yield from _number(row.get("vram_gb"), "vram_gb", 1, 1024)
    yield from _number(row.get("vram_usable_gib"), "vram_usable_gib", 1, row.get("vram_gb") or 1024, optional=True)
    yield from _number(row.get("memory_bandwidth_gb_s"), "memory_bandwidth_gb_s", 10, 20_000, optional=True)
    for name in ("bf16_tflops_dense", "fp16_tflops_dense", "fp32_tflops"):
        yield from _number(row.get(name), name, 0.1, 10_000, optional=True)
    yield from _number(row.get("year"), "year", 2010, 2035, optional=True)
    if any(alias != alias.lower() for alias in row.get("aliases", ())):
        yield "aliases must be in lower case"
    if not row.get("source"):
        yield "source: missing"


def check_capability(row: Row, models: Iterable[str | None]) -> Problems:
    """Yield the problems of a row of capabilities.jsonl."""
    yield from _texts(row, "hf_id", "benchmark", "metric", "setting", "comparable_group")
    if row.get("hf_id") not in models:
        yield f"hf_id {row.get('hf_id')} is not in models.jsonl"
    yield from _one_of(row.get("regime"), _REGIMES, "regime")
    yield from _one_of(row.get("unit"), _UNITS, "unit")
    yield from _number(row.get("value"), "value", 0, _UNITS.get(str(row.get("unit")), 5000.0))
    source = row.get("source") or {}
    if not (source.get("repo_path") or _URL.match(str(source.get("url")))):
        yield "source: neither repo_path nor url"
    yield from _texts(source, "locator", "excerpt")


def _task(row: Row) -> Problems:
    task = row.get("task")
    if task not in TASKS and task != GENERAL:
        yield f"task {task!r} is not in the catalogue"
    elif row.get("task_kind") != (TASKS[str(task)].kind if task in TASKS else GENERAL):
        yield f"task_kind {row.get('task_kind')!r} is not that of {task}"


def _source(source: Any) -> Problems:
    if not isinstance(source, dict):
        yield "source: missing"
        return
    yield from _url(source.get("url"), "source.url")
    yield from _texts(source, "locator", "excerpt")
    yield from _one_of(source.get("seen"), get_args(Seen), "source.seen")


def _score(row: Row) -> Problems:
    value, metric = row.get("value"), row.get("metric")
    for name in ("value", "baseline_full"):
        yield from _number(row.get(name), name, 0, 1e6, optional=True)
    if value is not None and not (isinstance(metric, str) and metric):
        yield "value without a metric"
    if value is not None and not isinstance(row.get("higher_is_better"), bool):
        yield "higher_is_better must be true or false"
    if isinstance(value, (int, float)) and isinstance(metric, str):
        total = re.search(r"\bof (\d+)\b", metric)
        limit = float(total.group(1)) if total else 1e6 if "count" in metric else 100.0
        if value > limit:
            yield f"value {value} is above {limit:g}, the most that {metric} can be"
    yield from _number(row.get("trainable_pct"), "trainable_pct", 0, 100, optional=True)


def _settings(hyperparameters: Mapping[str, Any]) -> Problems:
    for name, (least, greatest) in _HYPERPARAMETERS.items():
        value = hyperparameters.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from _number(value, f"hyperparameters.{name}", least, greatest)


def _texts(row: Row, *names: str) -> Problems:
    for name in names:
        if not isinstance(row.get(name), str) or not row[name].strip():
            yield f"{name}: missing"


def _number(value: Any, name: str, least: float, greatest: float, optional: bool = False) -> Problems:
    if value is None and optional:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= greatest:
        yield f"{name} must be a number from {least:g} to {greatest:g}, not {value!r}"


def _url(value: Any, name: str) -> Problems:
    if not isinstance(value, str) or not _URL.match(value):
        yield f"{name} {value!r} is not an address"


def _one_of(value: Any, allowed: Iterable[Any], name: str) -> Problems:
    if value not in tuple(allowed):
        yield f"{name} {value!r} is not one of {', '.join(map(str, allowed))}"


def _subset(values: Any, allowed: Iterable[str], name: str) -> Problems:
    if not isinstance(values, list):
        yield f"{name} must be a list"
    else:
        yield from (f"{name}: {value!r} is not one of {', '.join(allowed)}" for value in values if value not in allowed)


def _file(name: str, key: str, rows: list[Row], check: Callable[[Row], Problems]) -> Problems:
    for number, row in enumerate(rows, start=1):
        yield from (f"{name}: line {number} ({row.get(key or 'hf_id')}): {problem}" for problem in check(row))
    if key:
        yield from (f"{name}: {key} {value} is not unique" for value in _repeated([row.get(key) for row in rows]))


def _repeated(values: Iterable[Any]) -> list[Any]:
    seen: set[Any] = set()
    return [value for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    FOUND = problems(knowledge_folder())
    print("\n".join(FOUND) or "the knowledge files are sound")
    sys.exit(1 if FOUND else 0)
