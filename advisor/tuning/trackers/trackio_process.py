"""The process in which Trackio runs: reads one JSON object a line, logs it, answers `ok` or what went wrong.

It is run as a script and imports nothing of peft-advisor. It ends with its input, so never later than its parent.
"""

import json
import os
import sys
from typing import Any, TextIO


def main() -> None:
    """Answer line by line on stdout; what Trackio prints goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, answers)


def serve(lines: TextIO, answers: TextIO) -> None:
    """Log what stands in each line.

    Args:
        lines: JSON objects with project, name, group, config, step, values and files.
        answers: One line for each.
    """
    for line in lines:
        try:
            _log(json.loads(line))
            answer = "ok"
        except Exception as error:
            answer = " ".join(str(error).split()) or type(error).__name__
        answers.write(answer + "\n")
        answers.flush()


def _log(told: dict[str, Any]) -> None:
    import trackio

    # A run that exists goes on; its configuration is replaced by this one.
    run: Any = trackio.init(
        told["project"],
        name=told["name"],
        group=told["group"],
        config=told["config"],
        resume="allow",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    run.log(told["values"], step=told["step"])
    for path in told["files"]:
        run.log_artifact(path, name=os.path.basename(path), type="report")  # noqa: PTH119
    run.finish()


if __name__ == "__main__":
    main()
