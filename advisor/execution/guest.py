"""What runs inside the sandbox: the program, then its tests, then the word that both came to their end.

Sent to the interpreter as text (`-c`), so it imports nothing but what is loaded anyway. The program comes through
standard input, behind a line with the lengths of source and tests in bytes and the entry point. The pass is a nonce
that is fetched only after the tests and handed on through a pipe of its own: neither an early exit nor any output looks
like it. Arguments: descriptor of the pipe to report on, descriptor of the pipe that holds the nonce.
"""

import builtins
import os
import sys
from types import CodeType, ModuleType

_BALLAST_BYTES = 2**20  # given back to write a report when memory has run out
_MAX_REPORT_CHARACTERS = 300
_OWN_FILE = (lambda: None).__code__.co_filename  # under -c there is no __file__


def main() -> None:
    """Run the program that standard input holds and end the process without what it registered for its end."""
    report, nonce = int(sys.argv[1]), int(sys.argv[2])
    lengths, _, texts = sys.stdin.buffer.read().partition(b"\n")
    n_source, n_tests, entry_point = lengths.decode().split(" ")
    source, tests = texts[: int(n_source)], texts[int(n_source) :][: int(n_tests)]
    _silence_standard_input()
    for descriptor in (report, nonce):
        os.set_inheritable(descriptor, False)
    sys.argv[:] = ["program.py"]
    leave, write, read, own_pid, pid = os._exit, os.write, os.read, os.getpid(), os.getpid
    ballast = [bytearray(_BALLAST_BYTES)]
    status = 0
    try:
        _run(source, tests, entry_point)
        last_word = b"passed "
    except BaseException as error:
        ballast.clear()
        status, last_word = _failure(error, {"program.py": source, "tests.py": tests})
    _flush()
    if pid() == own_pid:  # not a child that the program forked and that ran on to here
        write(report, last_word + read(nonce, 64) if last_word == b"passed " else last_word)
    leave(status)


def _silence_standard_input() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _run(source: bytes, tests: bytes, entry_point: str) -> None:
    pristine = dict(vars(builtins))
    set_trace, set_profile = sys.settrace, sys.setprofile
    program = ModuleType("program" if tests else "__main__")
    checks = _compiled(tests, "tests.py")
    sys.modules[program.__name__] = program
    exec(_compiled(source, "program.py"), vars(program))
    set_trace(None)
    set_profile(None)
    # What hides a builtin (a candidate's own `all`) stays with the candidate: tests mean what they say.
    reach = {name: value for name, value in vars(program).items() if name not in pristine or name == entry_point}
    exec(checks, reach | {"__builtins__": pristine, "__name__": "tests"})


def _compiled(text: bytes, name: str) -> CodeType:
    # Bytes, so that a coding line, a byte-order mark and text that is no UTF-8 are treated as in a file.
    return compile(text, name, "exec", dont_inherit=True)


def _failure(error: BaseException, files: dict[str, bytes]) -> tuple[int, bytes]:
    """Write the traceback, with the lines of these files, and return exit status and report."""
    if isinstance(error, MemoryError):
        return 1, b"MemoryError"
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return code & 0xFF, f"SystemExit: left with {error.code!r} before the end".encode("utf-8", "replace")
    try:
        import linecache  # only on failure: they would be most of the start-up time
        import traceback

        for name, text in files.items():
            lines = text.decode("utf-8", "replace").splitlines(keepends=True)
            linecache.cache[name] = (len(text), None, lines, name)
        own = error.__traceback__  # the frames of this file say nothing about the program
        while own is not None and own.tb_frame.f_code.co_filename == _OWN_FILE:
            own = own.tb_next
        traceback.print_exception(error.with_traceback(own))
        line = traceback.format_exception_only(error)[-1].strip()
    except BaseException:
        line = type(error).__name__
    return 1, line[:_MAX_REPORT_CHARACTERS].replace("\n", " ").encode("utf-8", "replace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:  # closed or replaced by the program: what it wrote is lost, as it would be anywhere
            continue


if __name__ == "__main__":
    main()
