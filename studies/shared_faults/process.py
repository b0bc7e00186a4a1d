"""A process of the study: a search of its own on the shared study, with a runner that sleeps.

    python -m studies.shared_faults.process URL FOLDER LOG SEED N_TRIALS RUNG_S [--shift-clock SECONDS]

It appends to LOG every rung that it trains and every trial that it has finished.
"""

import argparse
import datetime as datetime_module
import logging
import sys
import time
from pathlib import Path
from typing import Any

from advisor.errors import AdvisorError
from advisor.search import run_part
from advisor.search.events import TrialDropped, TrialFinished
from advisor.search.sharing import TIMES, Address, connect, find_study
from studies.slow_runner import SlowRunner, append_line, plan_of, settings_of


def main() -> None:
    """Take part until the study is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("n_trials", type=int)
    parser.add_argument("rung_s", type=float)
    parser.add_argument("--shift-clock", type=float, default=0.0)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if asked.shift_clock:
        _shift_clock(asked.shift_clock)
    address = Address(url=asked.url, study="faults")
    storage = connect(address)
    shared = find_study(storage, address)
    assert shared is not None
    storage.heartbeat_interval, storage.grace_period = shared.attributes[TIMES]
    append_line(asked.log, {"what": "joined"})

    def on_event(event: object) -> None:
        if isinstance(event, TrialFinished) and not event.elsewhere:
            append_line(asked.log, {"what": "finished", "number": event.record.number, "value": event.record.value})
        elif isinstance(event, TrialDropped):
            append_line(asked.log, {"what": "dropped", "number": event.spec.number})

    try:
        run_part(
            asked.folder, settings_of(asked.seed), plan_of(asked.n_trials), SlowRunner(asked.rung_s, asked.log),
            shared, clock=time.time, on_event=on_event, interrupted=lambda: not shared.is_open,
        )  # fmt: skip
    except AdvisorError as error:
        append_line(asked.log, {"what": "ended", "why": str(error)})
        sys.exit(1)


def _shift_clock(seconds: float) -> None:
    """Shift the time of day of this process; the clock that only counts seconds stays."""
    real_time, real_datetime = time.time, datetime_module.datetime

    class Shifted(real_datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real_datetime.now(tz) + datetime_module.timedelta(seconds=seconds)

    time.time = lambda: real_time() + seconds
    datetime_module.datetime = Shifted  # type: ignore[misc]
    for module in list(sys.modules.values()):
        if module is not None and getattr(module, "datetime", None) is real_datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
