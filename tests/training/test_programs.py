"""Answers that are programs are run once each, and what became of them is kept."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from advisor.catalog.tasks import find_task, with_execution
from advisor.data.examples import Example
from advisor.execution import Limits, ProgramTests, SandboxError
from advisor.training import programs
from advisor.training.programs import ProgramJudge, Verdict, measure_judged
from tests.training.toy import predictions

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="generated programs are not run on Windows")

TASK = with_execution(find_task("code-generation"))
RIGHT, WRONG = "def double(n): return 2 * n", "def double(n): return n"
SHORT = Limits(cpu_s=1, wall_s=4.0)


def example(number: int = 0) -> Example:
    return Example(
        example_id=str(number),
        text="Double a number.",
        text_pair=None,
        target=RIGHT,
        tests=ProgramTests(code=f"assert double({number + 2}) == {2 * number + 4}"),
    )


def outcomes(judge: ProgramJudge, answers: list[str]) -> list[str]:
    return [one.outcome for one in judge.verdicts([example() for _ in answers], answers)]


def test_answers_are_judged_in_their_order_with_the_tests_of_their_examples() -> None:
    found = ProgramJudge().verdicts([example(0), example(0), example(1)], [RIGHT, WRONG, "def double(n): return 6"])
    assert [one.passed for one in found] == [True, False, True]
    assert found[0] == Verdict(outcome="passed", error="")
    assert found[1] == Verdict(outcome="failed", error="AssertionError")


@pytest.mark.slow
def test_hostile_answers_fail_and_whoever_runs_them_lives(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    tmp_path.chmod(0o777)
    hostile = [
        "while True: pass",
        "import time\ntime.sleep(60)",
        "import os\nwhile True: os.fork()",
        f"open({str(beside)!r}, 'w').write('x')",
        "kept = bytearray(2 ** 40)",
        "while True: print('x' * 10_000)",
        "import os\nos._exit(0)",
        f"import os\nos.kill({os.getpid()}, 9)",
        "\0",
        "def double(n):\n    return " + "(" * 5_000 + "n" + ")" * 5_000,
        "",
    ]
    found = outcomes(ProgramJudge(limits=SHORT, n_workers=2), [*hostile, RIGHT])
    assert "passed" not in found[:-1]
    assert found[0] == found[1] == "timed-out"
    assert (found[4], found[5], found[-1]) == ("out-of-memory", "too-much-output", "passed")
    assert not beside.exists()


def test_a_program_is_run_once_however_often_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    run = count_runs(monkeypatch)
    judge = ProgramJudge()
    assert outcomes(judge, [RIGHT, WRONG, RIGHT]) == ["passed", "failed", "passed"]
    assert outcomes(judge, [WRONG]) == ["failed"]
    assert run == [RIGHT, WRONG]
    judge.verdicts([example(1)], [RIGHT])  # other tests
    assert run == [RIGHT, WRONG, RIGHT]


def test_a_study_that_goes_on_gets_the_verdicts_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "executions.jsonl"
    chance = "import os\nassert os.urandom(1)[0] < 128\n" + RIGHT
    answers = [chance + "\n" * number for number in range(24)]
    first = outcomes(ProgramJudge(kept=kept), answers)
    assert set(first) == {"passed", "failed"}  # all alike once in 2 ** 23 runs
    run = count_runs(monkeypatch)
    assert outcomes(ProgramJudge(kept=kept), answers) == first
    assert run == []
    outcomes(ProgramJudge(kept=kept, limits=SHORT), answers[:1])  # within other limits it may end otherwise
    assert len(run) == 1


def test_a_line_that_a_killed_process_cut_costs_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "executions.jsonl"
    outcomes(ProgramJudge(kept=kept), [RIGHT, WRONG])
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-20])
    run = count_runs(monkeypatch)
    assert outcomes(ProgramJudge(kept=kept), [RIGHT, WRONG, ""]) == ["passed", "failed", "failed"]
    assert run == [WRONG, ""]
    run.clear()
    assert outcomes(ProgramJudge(kept=kept), [RIGHT, WRONG, ""]) == ["passed", "failed", "failed"]
    assert run == []
    kept.write_text(json.dumps({"program": "x", "outcome": "excellent", "error": ""}) + "\n[1]\nnull\n")
    assert outcomes(ProgramJudge(kept=kept), [RIGHT]) == ["passed"]


def test_progress_counts_what_is_run_over_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_BATCH", 2)
    seen: list[tuple[int, int]] = []
    judge = ProgramJudge(progress=lambda done, in_all: seen.append((done, in_all)))
    answers = [RIGHT + "\n" * number for number in range(5)]
    outcomes(judge, answers[:1])
    outcomes(judge, answers)
    assert seen == [(1, 1), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_programs_at_a_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def judged(programs: list[object], *, n_workers: int, **_: object) -> list[object]:
        seen.append(n_workers)
        return []

    monkeypatch.setattr(programs, "judge", judged)
    monkeypatch.setattr(programs, "usable_cores", lambda: 256)
    with pytest.raises(ValueError, match="shorter"):  # the fake runs nothing
        ProgramJudge().verdicts([example()], [RIGHT])
    assert seen == [8]


def test_a_sandbox_that_fails_is_no_failed_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise SandboxError("the sandbox could not be made")

    monkeypatch.setattr(programs, "judge", broken)
    with pytest.raises(SandboxError):
        outcomes(ProgramJudge(kept=tmp_path / "kept"), [RIGHT])
    assert not (tmp_path / "kept").exists()


def test_an_example_without_tests_is_refused() -> None:
    bare = Example(example_id="7", text="x", text_pair=None, target="y")
    with pytest.raises(ValueError, match="example 7 has no tests"):
        ProgramJudge().verdicts([bare], ["y"])


def test_metrics_of_programs_and_of_texts_stand_in_the_order_of_the_task() -> None:
    verdicts = [Verdict(outcome="passed", error=""), Verdict(outcome="failed", error="AssertionError")]
    found = measure_judged(TASK, TASK.metrics, [RIGHT, RIGHT], [WRONG, RIGHT], verdicts)
    assert list(found) == list(TASK.metrics)
    assert (found["pass@1"], found["exact-match"]) == (0.5, 0.5)
    with pytest.raises(ValueError, match="no program"):
        measure_judged(TASK, TASK.metrics, [RIGHT], [RIGHT], None)


def test_an_answer_is_right_when_it_passes_however_it_is_written() -> None:
    same, other = predictions([RIGHT, RIGHT], [RIGHT, WRONG])
    assert (same.is_right, other.is_right) == (True, False)
    assert replace(other, outcome="passed", error="").is_right
    assert not replace(same, outcome="timed-out", error="ran longer than 4 s").is_right


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the source of every program that is really run."""
    run: list[str] = []
    judge = programs.judge

    def counted(given: list[programs.Program], **options: object) -> object:
        run.extend(program.source for program in given)
        return judge(given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(programs, "judge", counted)
    return run
