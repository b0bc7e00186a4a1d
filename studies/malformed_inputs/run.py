"""What becomes of broken and hostile inputs, and what memory and time they take.

Run from the repository root: `python -m studies.malformed_inputs.run FOLDER`, where FOLDER holds the inputs named in
params.json. Each goes through `peft-advisor check-data --json` in a process of its own; the process's peak memory and
CPU time include the start of Python. A traceback, a message of several lines or a control character on a stream fails
a case whatever else it does.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from studies.gpu.entry import processor

FOLDER = Path(__file__).parent


def main() -> None:
    """Run all cases, print a table, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    cases = json.loads((FOLDER / "params.json").read_text(encoding="utf-8"))["cases"]
    rows = [run_case(folder, case) for case in cases]
    for row in rows:
        print(f"{row['file']:<30} {row['got']:<12} {row['peak_mib']:>6} MiB {row['cpu_s']:>6} s  {row['message'][:90]}")
    result = {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": processor(),
        "python": platform.python_version(),
        "as_expected": sum(row["as_expected"] for row in rows),
        "cases": rows,
    }
    (FOLDER / "results" / "cases.json").write_text(json.dumps(result, indent=1, ensure_ascii=True) + "\n")
    print(f"{result['as_expected']} of {len(rows)} as expected")


def run_case(folder: Path, case: Mapping[str, Any]) -> dict[str, Any]:
    """Run one case; see `judge` for what counts."""
    command = [sys.executable, "-m", "advisor", "check-data", "--task", case["task"], "--json", "--train", case["file"]]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "HF_HUB_OFFLINE": "1"}
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        said = out.read().decode(), err.read().decode()
    findings, n_rows = read_report(said[0])
    return {
        "file": case["file"],
        "expected": case["expected"],
        "got": "unusable"
        if child.returncode == 1
        else "usable"
        if child.returncode == 0
        else f"exit {child.returncode}",
        "as_expected": judge(case, child.returncode, findings, n_rows, said[1]),
        "rows": n_rows,
        "message": findings[0] if findings else "",
        "peak_mib": round(usage.ru_maxrss / 1024),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
    }


def read_report(text: str) -> tuple[list[str], int]:
    """Return the messages of a report and the rows that were read."""
    try:
        report = json.loads(text)
    except ValueError:
        return [], 0
    rows = sum(facts["n_examples"] for facts in report["splits"].values())
    return [finding["message"] for finding in report["findings"]], rows


def judge(case: Mapping[str, Any], exit_code: int, messages: list[str], n_rows: int, stderr: str) -> bool:
    """Tell whether a case came out as it must: exit code, rows, parts of the messages, clean lines, no traceback."""
    together = "\n".join(messages)
    return (
        exit_code == case["exit"]
        and n_rows == case.get("rows", n_rows)
        and all(part in together for part in case.get("says", ()))
        and all(message.isprintable() for message in messages)
        and not stderr
    )


if __name__ == "__main__":
    main()
