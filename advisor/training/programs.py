"""Answers that are programs: run with the tests of their examples, each program once in a study.

What became of a program is kept beside the study, by the digest of program, tests and limits: a study that is
continued, and the check of a saved adapter, get the verdicts that were there, also of programs that end differently
every time or that a busy machine lets run out of time.

Not covered: several samples for one example (pass@k), and other languages than Python.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from advisor import durable
from advisor.catalog.tasks import Metric, Task
from advisor.cores import usable_cores
from advisor.data.examples import Example
from advisor.execution.benchmarks import program_of
from advisor.execution.judging import judge
from advisor.execution.limits import Limits
from advisor.execution.outcome import Outcome, Program
from advisor.metrics.programs import PROGRAM_METRICS, program_statistics
from advisor.training.answers import Scores, measure_answers

FILE_NAME = "executions.jsonl"
# Tests of single functions end in milliseconds. Models under training write endless loops, and whoever waits for them
# trains nothing: HumanEval's own harness gives a program 3 s (Chen et al. 2021, github.com/openai/human-eval).
LIMITS = Limits(cpu_s=3, wall_s=15.0)
# A killed process loses no more than what this many programs became.
_BATCH = 64
# Each may take the memory of its limits; more at a time would help no machine that trains beside.
_MOST_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a program: see `execution.outcome.Execution`."""

    outcome: Outcome
    error: str

    @property
    def passed(self) -> bool:
        """Did the program and its tests run to their end?"""
        return self.outcome == "passed"


class ProgramJudge:
    """Runs programs in sandboxes, several at a time; whoever makes one has the permission to do so."""

    def __init__(
        self,
        *,
        kept: Path | None = None,
        limits: Limits = LIMITS,
        n_workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Run nothing yet.

        Args:
            kept: File in which verdicts are kept, whose folder exists when the first program is run; None for none.
            limits: What each program may use up.
            n_workers: Programs at a time; the number of usable cores, but no more than 8, if None.
            progress: Called with programs run and programs to run, after each.
        """
        self._path = kept
        self._limits = limits
        self._n_workers = n_workers or min(_MOST_WORKERS, usable_cores())
        self._progress = progress
        self._known: dict[str, Verdict] | None = None
        self._is_cut = False  # the file ends within a line, which a killed process left

    def verdicts(self, examples: Sequence[Example], answers: Sequence[str]) -> list[Verdict]:
        """Return what becomes of the answer to each example.

        Raises:
            InputError: Programs cannot be run here.
            SandboxError: A sandbox could not be made.
            OSError: Verdicts could not be kept.
            ValueError: An example has no tests, or there are not as many answers.
        """
        known = self._read()
        programs = [_program(example, answer) for example, answer in zip(examples, answers, strict=True)]
        names = [_name(program, self._limits) for program in programs]
        new = {name: one for name, one in zip(names, programs, strict=True) if name not in known}
        done = 0
        for batch in _batches(list(new)):
            found = judge(
                [new[name] for name in batch],
                limits=self._limits,
                n_workers=self._n_workers,
                allow_execution=True,
                progress=self._further(done, len(new)),
            )
            self._keep({
                name: Verdict(outcome=one.outcome, error=one.error) for name, one in zip(batch, found, strict=True)
            })  # fmt: skip
            done += len(batch)
        return [known[name] for name in names]

    def _further(self, done: int, in_all: int) -> Callable[[int, int], None] | None:
        progress = self._progress
        return None if progress is None else lambda here, _: progress(done + here, in_all)

    def _read(self) -> dict[str, Verdict]:
        if self._known is None:
            self._known = {}
            if self._path is not None and self._path.is_file():
                content = self._path.read_bytes()
                self._known = dict(_kept(content))
                self._is_cut = bool(content) and not content.endswith(b"\n")
        return self._known

    def _keep(self, found: dict[str, Verdict]) -> None:
        self._read().update(found)
        if self._path is None:
            return
        lines = [
            json.dumps({"program": name, "outcome": one.outcome, "error": one.error}) for name, one in found.items()
        ]
        text = "".join(f"{line}\n" for line in lines)
        durable.append(self._path, (f"\n{text}" if self._is_cut else text).encode())
        self._is_cut = False


def measure_judged(
    task: Task,
    metrics: Sequence[Metric],
    expected: Sequence[str],
    predicted: Sequence[str],
    verdicts: Sequence[Verdict] | None,
    *,
    label_names: Sequence[str] = (),
    scores: Scores | None = None,
) -> dict[str, float]:
    """Return the value of each metric: those of programs from verdicts, the others from `answers.measure_answers`.

    Raises:
        DataError, InputError: As `measure_answers`.
        ValueError: As `measure_answers`; or a metric of programs is asked for, and none was run.
    """
    others = [metric for metric in metrics if metric not in PROGRAM_METRICS]
    found = measure_answers(task, others, expected, predicted, label_names=label_names, scores=scores)
    passed = [one.passed for one in verdicts or ()]
    found |= {name: program_statistics(name, passed).value for name in metrics if name in PROGRAM_METRICS}
    return {metric: found[metric] for metric in metrics if metric in found}


def _program(example: Example, answer: str) -> Program:
    if example.tests is None:
        raise ValueError(f"example {example.example_id} has no tests")
    return program_of(example.tests, answer, source=example.text, reference=example.target, suffix=example.text_pair)


def _name(program: Program, limits: Limits) -> str:
    digest = hashlib.sha256(repr(limits).encode())
    for text in (program.source, program.tests, program.entry_point):
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _BATCH):
        yield names[start : start + _BATCH]


def _kept(content: bytes) -> Iterator[tuple[str, Verdict]]:
    """Yield the verdicts of a file; a line that is none costs the run of a program, nothing else."""
    for line in content.split(b"\n"):
        try:
            plain = json.loads(line)
            name, outcome, error = plain["program"], plain["outcome"], plain["error"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(name, str) and outcome in get_args(Outcome) and isinstance(error, str):
            yield name, Verdict(outcome=outcome, error=error)
