"""Calls into the C library and the Linux kernel that Python 3.11 has no functions for."""

import ctypes
import os
from functools import cache

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def libc_call(name: str, *arguments: int | bytes | None) -> int:
    """Call a function of the C library that returns -1 on failure.

    Raises:
        OSError: The call failed, or the library has no such function.
    """
    function = getattr(_libc(), name, None)
    if function is None:
        raise OSError(f"{name}: the C library of this system does not have it")
    result = int(function(*(ctypes.c_long(one) if isinstance(one, int) else one for one in arguments)))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def system_call(name: str, number: int, *arguments: int | bytes | None) -> int:
    """Make a system call by its number, for those that the C library has no function for.

    Raises:
        OSError: The call failed; the message names it.
    """
    try:
        return libc_call("syscall", number, *arguments)
    except OSError as error:
        raise OSError(error.errno, f"{name}: {error.strerror}") from None


def set_process_option(option: int, value: int) -> None:
    """Call prctl with one value.

    Raises:
        OSError: The kernel refuses.
    """
    libc_call("prctl", option, value, 0, 0, 0)
