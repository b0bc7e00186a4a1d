"""Run many programs, several at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from threading import Event

from advisor.cores import usable_cores
from advisor.errors import InputError
from advisor.execution.limits import Limits
from advisor.execution.outcome import Execution, Program
from advisor.execution.sandbox import require_permission, run_program


def judge(
    programs: Sequence[Program],
    *,
    limits: Limits | None = None,
    n_workers: int | None = None,
    allow_execution: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Execution]:
    """Run programs in sandboxes and return what came of each, in their order.

    Verdicts do not depend on the number of workers as long as `wall_s` leaves room for the waiting that more programs
    than processors bring; processor time, memory and output are counted per program.

    Args:
        programs: Candidates with their tests.
        limits: What each may use up; the defaults of `Limits` if None.
        n_workers: Programs at a time; the number of usable cores if None. Each is a process of its own, so threads of
            this process suffice to look after them.
        allow_execution: Must be True, see `run_program`.
        progress: Called in this thread with programs done and programs in all, after each.

    Raises:
        InputError: Running is not allowed, or `n_workers` is below 1.
        SandboxError: A sandbox could not be made; programs not yet started are not run.
    """
    require_permission(allow_execution)
    n_workers = usable_cores() if n_workers is None else n_workers
    if n_workers < 1:
        raise InputError(f"n_workers must be at least 1, is {n_workers}")
    given_up = Event()
    pool = ThreadPoolExecutor(max_workers=n_workers, thread_name_prefix="sandbox")
    run_one = partial(run_program, limits=limits, allow_execution=True, is_cancelled=given_up.is_set)
    try:
        runs = [pool.submit(run_one, one) for one in programs]
        for n_done, run in enumerate(as_completed(runs), start=1):
            run.result()  # a sandbox that fails stops the rest
            if progress is not None:
                progress(n_done, len(runs))
        return [run.result() for run in runs]
    finally:  # also on Ctrl-C: programs that still run are ended, not waited for
        given_up.set()
        pool.shutdown(wait=True, cancel_futures=True)
