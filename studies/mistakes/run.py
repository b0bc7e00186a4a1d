"""What typical mistakes are answered with: exit code, message, and what is left behind.

Run from the repository root: `python -m studies.mistakes.run`. Every mistake is a process of its own in a folder that
is made for it; the folder is compared before and after. `--only PART` runs the cases whose name holds PART and puts
their answers in the place of those on record.
"""

import argparse
import hashlib
import json
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from studies.mistakes.cases import MISTAKES, Mistake
from studies.mistakes.world import environment, make_world

FOLDER = Path(__file__).parent
_TIMEOUT_S = 600
_ERROR = "error: "
# Written before the first step of training, when everything was read and the model is there.
_BEGUN = "data_report.json"
_TABLE = "<!-- messages -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a process said and left.

    Attributes:
        exit_code: Of the process.
        stdout: All of it.
        stderr: All of it.
        changed: Files that were not there before, are gone, or have other bytes, without what the mistake may leave.
    """

    exit_code: int
    stdout: str
    stderr: str
    changed: tuple[str, ...]

    @property
    def message(self) -> str:
        """The last line of stderr."""
        return self.stderr.rstrip("\n").rsplit("\n", 1)[-1]


def main() -> None:
    """Run the cases, print a line each, write the result file and the table of the README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="run the cases whose name holds this")
    parser.add_argument("--folder", type=Path, help="use this folder, made by an earlier call with it")
    arguments = parser.parse_args()
    # What a shell starts in the background ignores Ctrl-C, and so would the commands that are started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = [one for one in MISTAKES if arguments.only in one.name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "world"
        if not folder.exists():
            make_world(folder, with_run=any(one.needs_run for one in chosen))
        rows = [_shown(_row(one, answer_to(one, folder))) for one in chosen]
    print(f"{sum(not row['faults'] for row in rows)} of {len(rows)} as wanted")
    _write(rows)


def answer_to(mistake: Mistake, folder: Path) -> Answer:
    """Make the mistake in a folder of `world.make_world` and return what came of it."""
    before = tree(folder)
    other = _start(mistake, folder) if mistake.situation == "beside" else None
    try:
        if other is not None:
            _wait_for(folder / mistake.leaves[0] / _BEGUN)
        process = _start(mistake, folder)
        if mistake.situation == "interrupted":
            stdout, stderr = _interrupted(process, folder / mistake.leaves[0] / _BEGUN)
        else:
            stdout, stderr = process.communicate(timeout=_TIMEOUT_S)
    finally:
        if other is not None:
            other.communicate(timeout=_TIMEOUT_S)
    after = tree(folder)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    kept = tuple(name for name in changed if name.split("/")[0] not in mistake.leaves)
    return Answer(exit_code=process.returncode, stdout=stdout, stderr=stderr, changed=kept)


def faults(mistake: Mistake, answer: Answer) -> list[str]:
    """Return what is wrong with an answer; nothing when it is as it should be."""
    lines = answer.stderr.splitlines()
    found = []
    if answer.exit_code != mistake.exit_code:
        found.append(f"exit code {answer.exit_code} instead of {mistake.exit_code}")
    if answer.stdout:
        found.append(f"stdout holds {answer.stdout[:80]!r}")
    if "Traceback" in answer.stderr:
        found.append("a traceback")
    if not answer.message.startswith(_ERROR) or sum(line.startswith(_ERROR) for line in lines) != 1:
        found.append("the last line, and only that, must begin with 'error: '")
    if mistake.is_quick and len(lines) != 1:
        found.append(f"{len(lines)} lines on stderr instead of one")
    if not answer.message.isprintable():
        found.append("characters that command a terminal")
    found += [f"does not say {part!r}" for part in mistake.says if part not in answer.message]
    found += [f"left behind or changed: {name}" for name in answer.changed]
    return found


def tree(folder: Path) -> Mapping[str, str]:
    """Return every file and folder with a digest of its bytes; byte code is Python's own affair."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if "__pycache__" not in path.parts:
            data = path.read_bytes() if path.is_file() else b""
            found[path.relative_to(folder).as_posix()] = hashlib.blake2b(data, digest_size=16).hexdigest()
    return found


def _start(mistake: Mistake, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "advisor", *mistake.arguments],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _interrupted(process: "subprocess.Popen[str]", begun: Path) -> tuple[str, str]:
    """Press Ctrl-C when the run folder is begun and nothing is trained; return stdout and stderr."""
    _wait_for(begun)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=_TIMEOUT_S)


def _wait_for(path: Path) -> None:
    end_s = time.monotonic() + _TIMEOUT_S
    while not path.exists():
        if time.monotonic() > end_s:
            raise TimeoutError(f"{path} never came")
        time.sleep(0.1)


def _row(mistake: Mistake, answer: Answer) -> dict[str, Any]:
    return {
        "name": mistake.name,
        "command": " ".join(("peft-advisor", *mistake.arguments)),
        "exit_code": answer.exit_code,
        "message": answer.message,
        "lines_before": max(0, len(answer.stderr.splitlines()) - 1),
        "faults": faults(mistake, answer),
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    print(f"{'NOT' if row['faults'] else 'ok '} {row['exit_code']:>3}  {row['name']}: {row['message']}", flush=True)
    for fault in row["faults"]:
        print(f"         {fault}", flush=True)
    return row


def _write(new: list[dict[str, Any]]) -> None:
    path = FOLDER / "results" / "mistakes.json"
    known = {row["name"]: row for row in (json.loads(path.read_text())["mistakes"] if path.exists() else [])}
    known |= {row["name"]: row for row in new}
    rows = [known[one.name] for one in MISTAKES if one.name in known]
    result = {
        "schema_version": 1,
        "date": datetime.now(tz=UTC).date().isoformat(),
        "python": platform.python_version(),
        "n_mistakes": len(rows),
        "n_as_wanted": sum(not row["faults"] for row in rows),
        "mistakes": rows,
    }
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    readme = FOLDER / "README.md"
    above, mark, _ = readme.read_text(encoding="utf-8").partition(_TABLE)
    readme.write_text(f"{above}{mark}\n\n{_table(rows)}", encoding="utf-8")


def _table(rows: list[dict[str, Any]]) -> str:
    """Return the messages as they were printed, under the commands that they answer."""
    return "\n".join(
        f"**{row['name']}** (exit {row['exit_code']})\n\n```\n$ {row['command']}\n{row['message']}\n```\n"
        for row in rows
    )


if __name__ == "__main__":
    main()
