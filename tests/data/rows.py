"""Rows, examples and files that the tests of datasets share."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow

from advisor.catalog.tasks import Task, find_task
from advisor.data.examples import Example, ExampleFile, label_counts
from advisor.trial import Split

CLONES = find_task("clone-detection")
DEFECTS = find_task("defect-detection")
COMMENTS = find_task("code-comment-classification")
SUMMARIES = find_task("code-summarization")
SEARCH = find_task("code-search")
SHARED = Path(__file__).parents[3] / "shared" / "data"


def write_rows(path: Path, *rows: object) -> Path:
    """Write rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def zstd(path: Path, content: bytes) -> None:
    """Write a file packed by zstd."""
    with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
        file.write(content)


def single(text: str, target: str = "0", **more: object) -> Example:
    """An example of one text; its id is the text unless another is given."""
    return Example(**({"example_id": text, "text": text, "text_pair": None, "target": target} | more))


def pair(first: str, second: str, target: str = "0") -> Example:
    """An example of two texts."""
    return Example(example_id=f"{first}|{second}", text=first, text_pair=second, target=target)


def file_of(*examples: Example, task: Task = DEFECTS, path: str = "file") -> ExampleFile:
    """What reading these examples would give."""
    return ExampleFile(path=path, sha256="", examples=examples, label_counts=label_counts(examples, task), warnings=())


def files_of(splits: Mapping[Split, tuple[Example, ...]], task: Task = DEFECTS) -> dict[Split, ExampleFile]:
    """The same by split."""
    return {split: file_of(*examples, task=task, path=f"{split}.jsonl") for split, examples in splits.items()}


def program(name: str, n: int = 30) -> str:
    """Code with `n` different names, of which only the first tells two programs apart."""
    return f"def {name}():\n" + "\n".join(f"    value{i} = call{i}(argument{i})" for i in range(n // 3))
