"""File access limited to named folders, without namespaces and without root. Linux 5.13 or newer.

Where a container or the system refuses namespaces this is what keeps a program from files outside. From version 6 of
the interface it also keeps signals inside. Source: landlock(7), the kernel's include/uapi/linux/landlock.h.
"""
# pathlib would add a third to the time that the launcher takes to start.
# ruff: noqa: PTH112

import os
import struct
from collections.abc import Sequence

from advisor.execution.kernel import PR_SET_NO_NEW_PRIVS, set_process_option, system_call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on all architectures
_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_ALL_OF_VERSION_1 = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15  # since version 2, 3, 5
_ALL_NETWORK_VERSION_4 = 3
_SCOPES_VERSION_6 = 3  # abstract Unix sockets, signals
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def landlock_version() -> int:
    """Return the version of the kernel's interface; 0 if it has none or it is switched off."""
    try:
        return system_call("landlock_create_ruleset", _CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict_files(*, readable: Sequence[str], writable: str) -> None:
    """Keep the calling process, and all that it starts, to these folders and four devices, for good.

    Args:
        readable: Folders to read and execute in; those that do not exist are left out.
        writable: The one folder to write in.

    Raises:
        OSError: The kernel refuses; the message names the step.
    """
    version = landlock_version()
    if version == 0:
        raise OSError("landlock_create_ruleset: this kernel has no Landlock")
    handled = _ALL_OF_VERSION_1
    handled |= sum(bit for bit, since in ((_REFER, 2), (_TRUNCATE, 3), (_IOCTL_DEVICE, 5)) if version >= since)
    network = _ALL_NETWORK_VERSION_4 if version >= 4 else 0
    scopes = _SCOPES_VERSION_6 if version >= 6 else 0
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("=QQQ", handled, network, scopes)[:size]
    ruleset = system_call("landlock_create_ruleset", _CREATE_RULESET, attributes, size, 0)
    for path in readable:
        _allow(ruleset, path, _READING if os.path.isdir(path) else _EXECUTE | _READ_FILE)
    for path in _DEVICES:
        _allow(ruleset, path, _READ_FILE | _WRITE_FILE)
    _allow(ruleset, writable, handled)
    set_process_option(PR_SET_NO_NEW_PRIVS, 1)
    system_call("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    rule = struct.pack("=Qi", access, beneath)  # struct landlock_path_beneath_attr, packed
    system_call("landlock_add_rule", _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    os.close(beneath)
