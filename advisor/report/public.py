"""A run as others may see it: without the folders of the user's machine.

A record names folders in many places (base models, data files, the command, messages of failures), so every text of it
is gone through. A folder becomes its last name. Not covered: folders that are named relative to another, unless a base
model is one of them; what a text says of them in words.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from advisor import records
from advisor.data.findings import DataReport
from advisor.recommendation import Recommendation
from advisor.report.run_folder import RunFolder
from advisor.result import TuningResult
from advisor.trial import TrialRecord

ADAPTER_CONFIG = "adapter_config.json"
T = TypeVar("T")
# At least two names from the root or the home folder on; neither part of an address nor of `a/b`.
_POSIX = re.compile(r"(?<![\w.:/<\\~-])~?(?:/[^\s/\\'\"`,;:()\[\]{}<>|*?]+){2,}/?")
# A drive or a server, then two names; Markdown doubles what stands between them.
_WINDOWS = re.compile(r"(?<![\w\\])(?:[A-Za-z]:|\\{2,}[\w.-]+)(?:\\+[^\s\\/'\"`,;:()\[\]{}<>|*?]+){2,}\\*")
# Texts of the data itself, which are compared with each other and shown nowhere in a public page.
_NOT_TEXT = ("predictions", "sha256", "evidence")


def is_local(base_model: str) -> bool:
    """Tell a folder from a hub id, which is a name or an owner and a name."""
    return (
        _exists(base_model) or base_model.startswith((".", "/", "~")) or base_model.count("/") > 1 or "\\" in base_model
    )


def _exists(base_model: str) -> bool:
    try:
        return Path(base_model).exists()
    except (OSError, ValueError):  # too long for a path, or with a character that none may have
        return False


def public_name(base_model: str) -> str:
    """Return a base model's hub id, or the last name of its folder."""
    return _last_name(base_model) if is_local(base_model) else base_model


def folders_in(text: str) -> tuple[str, ...]:
    """Return the absolute paths that a text names."""
    return tuple(match[0] for form in (_POSIX, _WINDOWS) for match in form.finditer(text))


def without_folders(text: str) -> str:
    """Return a text with the last name of each absolute path in its place."""
    for form in (_POSIX, _WINDOWS):
        text = form.sub(lambda match: _last_name(match[0]), text)
    return text


def found_base_model(base_model: str, adapter: Path) -> str:
    """Return the folder of a local base model as the adapter names it, who may know it better than the study.

    A study names it as seen from where it ran, such as `bases/tiny`, which elsewhere looks like an id of the hub.

    Args:
        base_model: As the study names it.
        adapter: Folder of the adapter.

    Returns:
        `base_model` itself where the adapter names no folder.
    """
    named = named_base_model(adapter)
    return named if named is not None and is_local(named) else base_model


def named_base_model(adapter: Path) -> str | None:
    """Return the base model that an adapter names; None for a whole model, and where its configuration is broken."""
    try:
        named = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return named if isinstance(named, str) else None


def public_run(run: RunFolder, adapter: Path) -> RunFolder:
    """Return a run without folders of the user's machine, and without the rows that were found odd.

    Predictions stay, since intervals are made of them: a page for others must leave out its examples.

    Args:
        run: Its records.
        adapter: Folder of the adapter, which may know better where the base model is.
    """
    bases = {trial.candidate.base_model for trial in run.trials}
    bases |= {ranked.base_model for ranked in run.recommendation.candidates}
    names = {base: public_name(base) for base in bases if is_local(base)}
    trained = [one for trial in run.trials for one in trial.candidate.adapters]
    names |= {one.folder: one.name for one in trained}
    best = run.contender("best trial")
    if best is not None and best.candidate is not None:
        found = found_base_model(best.candidate.base_model, adapter)
        names |= {base: public_name(found) for base in (found, best.candidate.base_model) if is_local(found)}
    data_report = _public(DataReport, run.data_report, names) if run.data_report else None
    if data_report is not None:
        data_report = replace(data_report, findings=tuple(replace(one, places=()) for one in data_report.findings))
    return replace(
        run,
        recommendation=_public(Recommendation, run.recommendation, names),
        trials=tuple(_public(TrialRecord, trial, names) for trial in run.trials),
        result=_public(TuningResult, run.result, names) if run.result else None,
        data_report=data_report,
    )


def _public(cls: type[T], record: T, names: Mapping[str, str]) -> T:
    return records.from_plain(cls, _shown(records.to_plain(record), names))


def _shown(plain: Any, names: Mapping[str, str]) -> Any:
    if isinstance(plain, dict):
        return {key: _shown_field(key, item, names) for key, item in plain.items()}
    if isinstance(plain, list):
        return [_shown(item, names) for item in plain]
    if not isinstance(plain, str):
        return plain
    if plain in names:
        return names[plain]
    # Longer names first: one base model may stand in a folder of another.
    for base in sorted(names, key=len, reverse=True):
        plain = re.sub(rf"(?<![\w./-]){re.escape(base)}(?![\w/-])", names[base].replace("\\", r"\\"), plain)
    return without_folders(plain)


def _shown_field(key: str, item: Any, names: Mapping[str, str]) -> Any:
    if key in _NOT_TEXT:
        return item
    return _last_name(item) if key == "path" and isinstance(item, str) else _shown(item, names)


def _last_name(path: str) -> str:
    kind = PureWindowsPath if "\\" in path else PurePosixPath
    return kind(path).name or path
