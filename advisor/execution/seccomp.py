"""A filter on system calls: no network, no namespaces, no hidden memory, no hold on other processes. Linux.

A second wall behind namespaces, and the only one around the network where these are refused. The list names what is
forbidden, for programs must run as they are; unnamed calls pass. Source of the form: the kernel's
Documentation/userspace-api/seccomp_filter; call numbers: asm/unistd_64.h and asm-generic/unistd.h.

Not covered: where there are neither namespaces nor Landlock 6, a program of the same user can still have a signal sent
to other processes through a file (F_SETOWN, F_SETSIG).
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from advisor.execution.kernel import PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, libc_call, set_process_option

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column below, AUDIT_ARCH_*

_FORBIDDEN = {  # name: number on x86_64, on aarch64
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "io_uring_setup": (425, 425),  # opens sockets without the call socket
    "keyctl": (250, 219),
    "memfd_create": (319, 279),  # memory that no process' size shows
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgget": (68, 186),  # System V: outlives the process
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "shmget": (29, 194),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_FORBIDDEN_SIGNALS = {
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
}
_CLONE, _CLONE3, _SOCKET, _PRLIMIT64 = (56, 220), (435, 435), (41, 198), (302, 261)
_KILL, _TGKILL = (62, 129), (234, 131)

_NEW_NAMESPACE_BITS = 0x7E020000  # all CLONE_NEW* that clone accepts
_AF_UNIX = 1
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in struct seccomp_data; low half of the argument
_X32_NUMBERS = 0x40000000
_MODE_FILTER = 2


def forbid_system_calls(*, signals_to: Iterable[int] | None) -> None:
    """Install the filter in the calling process, for good and for all that it starts.

    Args:
        signals_to: Process ids that it may send signals to (0 is its own group); None allows all, for a process table
            of its own.

    Raises:
        OSError: The kernel has no filters, or the processor is not in the table.
    """
    if os.uname().machine not in _MACHINES:
        raise OSError(f"seccomp: no table for processors of type {os.uname().machine}")
    column, architecture = _MACHINES[os.uname().machine]
    filters = b"".join(_instructions(column, architecture, signals_to))
    buffer = ctypes.create_string_buffer(filters, len(filters))
    header = struct.pack("@HP", len(filters) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    set_process_option(PR_SET_NO_NEW_PRIVS, 1)
    libc_call("prctl", PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0)


def _instructions(column: int, architecture: int, signals_to: Iterable[int] | None) -> list[bytes]:
    fail = _FAIL | errno.EPERM
    program = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        *_return_unless(_JUMP_IF_EQUAL, architecture, _KILL_PROCESS),
        _instruction(_LOAD, _NUMBER_AT),
    ]
    if column == 0:
        program += _return_if(_JUMP_IF_AT_LEAST, _X32_NUMBERS, fail)
    # Its flags stand in memory where no filter sees them; the C library then falls back to clone.
    program += _return_if(_JUMP_IF_EQUAL, _CLONE3[column], _FAIL | errno.ENOSYS)
    forbidden = _FORBIDDEN if signals_to is None else _FORBIDDEN | _FORBIDDEN_SIGNALS
    for numbers in forbidden.values():
        program += _return_if(_JUMP_IF_EQUAL, numbers[column], fail)
    program += _only_with(_SOCKET[column], [_AF_UNIX], fail)
    program += _only_with(_PRLIMIT64[column], [0], fail)
    if signals_to is not None:
        program += _only_with(_KILL[column], signals_to, fail)
        program += _only_with(_TGKILL[column], signals_to, fail)
    clone = [
        _instruction(_LOAD, _FIRST_ARGUMENT_AT),
        *_return_if(_JUMP_IF_ANY_BIT, _NEW_NAMESPACE_BITS, fail),
        _instruction(_RETURN, _ALLOW),
    ]
    program += [_instruction(_JUMP_IF_EQUAL, _CLONE[column], if_not=len(clone)), *clone]
    return [*program, _instruction(_RETURN, _ALLOW)]


def _only_with(number: int, allowed: Iterable[int], fail: int) -> list[bytes]:
    """Decide about one call by its first argument."""
    body = [_instruction(_LOAD, _FIRST_ARGUMENT_AT)]
    for value in allowed:
        body += _return_if(_JUMP_IF_EQUAL, value & 0xFFFFFFFF, _ALLOW)
    body.append(_instruction(_RETURN, fail))
    return [_instruction(_JUMP_IF_EQUAL, number, if_not=len(body)), *body]


def _return_if(test: int, value: int, result: int) -> list[bytes]:
    return [_instruction(test, value, if_not=1), _instruction(_RETURN, result)]


def _return_unless(test: int, value: int, result: int) -> list[bytes]:
    return [_instruction(test, value, if_so=1), _instruction(_RETURN, result)]


def _instruction(code: int, value: int, *, if_so: int = 0, if_not: int = 0) -> bytes:
    """Return a struct sock_filter: code, instructions to skip if so and if not, operand."""
    return struct.pack("=HBBI", code, if_so, if_not, value)
