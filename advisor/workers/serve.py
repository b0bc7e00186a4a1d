"""The process of a worker: makes its runner, then answers calls until the pipe ends.

    python -m advisor.workers.serve FILE_DESCRIPTOR

Only the process that started it holds the other end of the pipe, so what comes through it is as trusted as the program.
"""

import logging
import os
import pickle
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

from advisor.workers.raised import told

_LOOK_EVERY_S = 1.0
_log = logging.getLogger(__name__)


def main() -> None:
    """Serve one pool."""
    from advisor.search.interruption import (
        LEAVE,
    )  # its package needs Optuna, which the process that starts does without

    for number in LEAVE:  # of the terminal or the scheduler, to all processes: the study decides what becomes of it
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    pipe = Connection(int(sys.argv[1]))
    try:
        make_runner, arguments = pickle.loads(pipe.recv_bytes())
        _answer(pipe, make_runner(*arguments))
    except EOFError:  # the study is over
        return


def _answer(pipe: Connection, runner: object) -> None:
    while True:
        method, arguments, options = pipe.recv()
        try:
            answer = ("", getattr(runner, method)(*arguments, **options))
        except Exception as error:  # one call failed; what it means is for the study to say
            _log.exception("%s", method)
            answer = told(error)
        pipe.send(answer)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, also in the middle of a training step."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)


if __name__ == "__main__":
    main()
