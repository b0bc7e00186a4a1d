"""Run folders with an adapter to upload, and a stand-in for the hub."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from advisor.report import write_model_card
from advisor.report.run_folder import RunFolder
from tests.report import fixtures

BASE = "test-org/tiny-code-encoder"


def finished_run(folder: Path, run: RunFolder | None = None, *, base_model: str = BASE) -> Path:
    """Write a run whose adapter has the files that PEFT and a tokenizer leave."""
    fixtures.write_run(folder, run)
    adapter = folder / "best_adapter"
    adapter.mkdir()
    save_file({"lora_A": np.arange(32, dtype="float32")}, adapter / "adapter_model.safetensors")
    write_json(adapter / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": base_model, "r": 8})
    write_json(adapter / "tokenizer.json", {"model": {"vocab": {"/home": 1, "a": 2}}})
    write_json(adapter / "tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"})
    write_model_card(folder)
    return folder


def local_run(folder: Path, base: Path) -> Path:
    """Write a run on a base model that is a folder, with data beside it."""
    of = fixtures.candidate(base_model=str(base))
    result = fixtures.result(best=of)
    data = {name: replace(facts, path=str(base.parent / f"{name}.jsonl")) for name, facts in result.data.items()}
    result = replace(result, data=data, command=f"peft-advisor tune --data {base.parent} --base-model {base}")
    trials = tuple(replace(trial, candidate=of) for trial in fixtures.trials())
    run = fixtures.run_folder(
        recommendation=fixtures.recommendation(of), trials=trials, result=result, data_report=fixtures.data_report()
    )
    return finished_run(folder, run, base_model=str(base))


def write_json(path: Path, plain: object) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(plain), encoding="utf-8")


class FakeHub:
    """Remembers what it is asked for, as huggingface_hub's HfApi would be."""

    def __init__(self, *, is_private: bool = True, error: Exception | None = None) -> None:
        """Set whether the repository is private and what `create_commit` raises."""
        self.is_private, self.error = is_private, error
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.committed: dict[str, bytes] = {}

    def create_repo(self, repo_id: str, **options: Any) -> None:
        """Remember the call."""
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))

    def repo_info(self, repo_id: str, **options: Any) -> SimpleNamespace:
        """Return whether the repository is private."""
        self.calls.append(("repo_info", {"repo_id": repo_id, **options}))
        return SimpleNamespace(private=self.is_private)

    def create_branch(self, repo_id: str, **options: Any) -> None:
        """Remember the call."""
        self.calls.append(("create_branch", {"repo_id": repo_id, **options}))

    def create_commit(self, repo_id: str, operations: Any, **options: Any) -> SimpleNamespace:
        """Keep the contents of the files as the hub would get them."""
        self.calls.append(("create_commit", {"repo_id": repo_id, **options}))
        if self.error is not None:
            raise self.error
        for operation in operations:
            with operation.as_file() as file:
                self.committed[operation.path_in_repo] = file.read()
        return SimpleNamespace(commit_url=f"https://hub.invalid/{repo_id}/commit/1")
