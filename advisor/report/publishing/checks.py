"""What must not leave this machine: secrets, and the names of its folders.

The configuration files and the card are gone through for any absolute path; vocabularies, templates and pages, which
may hold such text by right, for the folders that the run itself names and for the user's home.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from advisor.data.credentials import kinds_of_secrets
from advisor.errors import DataError, printable
from advisor.report.public import folders_in
from advisor.report.publishing.files import CARD, UploadFile
from advisor.report.run_folder import RunFolder

_CONFIGURATIONS = (
    "adapter_config.json", "config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
)  # fmt: skip
_TEMPLATES = ("chat_template",)  # fields that hold programs of the base model's maker


def check_texts(files: Iterable[UploadFile], run: RunFolder, folder: Path) -> None:
    """Refuse files that hold a secret or name a folder of this machine.

    Raises:
        DataError: One does; the message names the file, and the kind of secret instead of the secret.
    """
    known = _known_folders(run, folder)
    for file in files:
        if file.is_binary:
            continue
        text = file.text()
        secrets = sorted(kinds_of_secrets([text]))
        if secrets:
            raise DataError(f"{file.path}: seems to hold a secret ({', '.join(secrets)}); nothing was uploaded")
        named = next((path for path in known if path in text), None) or next(iter(_paths_of(file, text)), None)
        if named is not None:
            raise DataError(
                f"{file.path}: names a folder of this machine ({printable(named)}); take it out, nothing was uploaded"
            )


def _known_folders(run: RunFolder, folder: Path) -> list[str]:
    """Return the home folder, the run folder, and the folders that hold what the run was made from."""
    found = {str(Path.home()), str(folder.absolute())}
    found |= {trial.candidate.base_model for trial in run.trials if folders_in(trial.candidate.base_model)}
    if run.result is not None:
        found |= {path for facts in run.result.data.values() for path in folders_in(facts.path)}
    return sorted(path for path in found if path.count("/") + path.count("\\") > 1)


def _paths_of(file: UploadFile, text: str) -> tuple[str, ...]:
    if file.path == CARD:
        return folders_in(text)
    if file.path not in _CONFIGURATIONS:
        return ()
    return tuple(path for value in _strings(json.loads(text)) for path in folders_in(value))


def _strings(plain: Any) -> Iterator[str]:
    if isinstance(plain, dict):
        for key, item in plain.items():
            if key not in _TEMPLATES:
                yield from _strings(item)
    elif isinstance(plain, list):
        for item in plain:
            yield from _strings(item)
    elif isinstance(plain, str):
        yield plain
