"""A root folder, network, process table and user of its own for the calling process. Linux 5.12 or newer.

Works without root where the kernel lets users make namespaces. As root the program still becomes an ordinary user, so
that limits bind it and nothing of root's is in its reach. Sources: user_namespaces(7), mount_namespaces(7),
pivot_root(2), mount_setattr(2).

The new root is a read-only file system in memory with copies of the mounts that an interpreter needs. There is no
/proc: without one a program sees no processes, and no descriptors or arguments of its own.
"""
# pathlib would add a third to the time that the launcher takes to start.
# ruff: noqa: PTH102, PTH103, PTH114, PTH115, PTH120, PTH211

import os
import struct
from collections.abc import Sequence

from advisor.execution.kernel import libc_call, system_call

HOME = "/sandbox"
NOBODY = 65534

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_NEW_NAMESPACES = _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWUSER | _CLONE_NEWPID | _CLONE_NEWNET
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x4000, 0x40000
_MNT_DETACH = 2
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _MOVE_MOUNT_F_EMPTY_PATH = 1, 0o2000000, 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442  # the same numbers on all architectures
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_INSIDE_ID = 1000
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_MAX_FILES = 4096


def enter_namespaces(folders: Sequence[str], *, scratch: str, disk_bytes: int) -> None:
    """Move the calling process into new namespaces; its next child is the first process of the new process table.

    Afterwards the process is an ordinary user in a root folder that holds `folders` read-only, four devices, and an
    empty writable `HOME` of at most `disk_bytes`. It keeps its capabilities, inside only, until it starts a program.

    Args:
        folders: Absolute paths that stay visible; links among them are made again as links.
        scratch: An existing folder that the new root is mounted over, unseen from outside.
        disk_bytes: Size of `HOME`.

    Raises:
        OSError: The kernel refuses one of the steps; the message names it.
    """
    if os.uname().machine not in _PIVOT_ROOT:
        raise OSError(f"namespaces are not written for processors of type {os.uname().machine}")
    outside = (os.geteuid(), os.getegid()) if os.geteuid() != 0 else (NOBODY, NOBODY)
    if os.geteuid() == 0:
        os.setgroups([])
    _unshare_and_map(*outside)
    # Opened while still the user outside: nobody could not go through the folders above an interpreter in /root.
    mounts = {path: _copy_of_mount(path) for path in (*folders, *_DEVICES) if not os.path.islink(path)}
    os.setresgid(_INSIDE_ID, _INSIDE_ID, _INSIDE_ID)
    os.setresuid(_INSIDE_ID, _INSIDE_ID, _INSIDE_ID)
    _build_root(mounts, [path for path in folders if os.path.islink(path)], scratch, disk_bytes)
    system_call("pivot_root", _PIVOT_ROOT[os.uname().machine], b".", b".")
    libc_call("umount2", b".", _MNT_DETACH)
    os.chdir("/")


def _unshare_and_map(outside_uid: int, outside_gid: int) -> None:
    """Make the namespaces; a child that stays outside writes which outside user the inside user is."""
    go_r, go_w = os.pipe()
    target = os.getpid()
    writer = os.fork()
    if writer == 0:
        code = 1
        try:
            os.close(go_w)
            if os.read(go_r, 1):
                _write(f"/proc/{target}/setgroups", "deny")
                _write(f"/proc/{target}/gid_map", f"{_INSIDE_ID} {outside_gid} 1")
                _write(f"/proc/{target}/uid_map", f"{_INSIDE_ID} {outside_uid} 1")
            code = 0
        finally:
            os._exit(code)
    try:
        libc_call("unshare", _NEW_NAMESPACES)
        os.write(go_w, b"x")
    finally:
        os.close(go_w)
        os.close(go_r)
        _, status = os.waitpid(writer, 0)
    if status != 0:
        raise OSError("the user of the new user namespace could not be set (uid_map)")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def _copy_of_mount(path: str) -> int:
    """Return a descriptor of a copy of what is mounted at a path, with all below; read-only unless it is a device."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    descriptor = system_call(f"open_tree {path}", _OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    if path not in _DEVICES:
        _set_attributes(descriptor, _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, _AT_RECURSIVE)
    return descriptor


def _set_attributes(descriptor: int, attributes: int, recursive: int) -> None:
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)  # struct mount_attr: set, clear, propagation, user namespace
    flags = _AT_EMPTY_PATH | recursive
    system_call("mount_setattr", _MOUNT_SETATTR, descriptor, b"", flags, wanted, len(wanted))


def _build_root(mounts: dict[str, int], links: Sequence[str], scratch: str, disk_bytes: int) -> None:
    """Mount the new root over the scratch folder, fill it, and go into it."""
    libc_call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    _mount_memory(scratch, f"size=1m,nr_inodes={_MAX_FILES},mode=755")
    os.chdir(scratch)
    for path, descriptor in mounts.items():
        inside = path.lstrip("/")
        if path in _DEVICES:
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            os.close(os.open(inside, os.O_CREAT | os.O_WRONLY))
        else:
            os.makedirs(inside, exist_ok=True)
        system_call(
            f"move_mount {path}", _MOVE_MOUNT, descriptor, b"", _AT_FDCWD, os.fsencode(inside), _MOVE_MOUNT_F_EMPTY_PATH
        )
        os.close(descriptor)
    for path in links:
        os.symlink(os.readlink(path), path.lstrip("/"))
    os.mkdir(HOME.lstrip("/"))
    for usual in ("tmp", "dev/shm"):
        if not os.path.lexists(usual):
            os.symlink(HOME, usual)
    root = os.open(".", os.O_RDONLY)
    _set_attributes(root, _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, 0)
    os.close(root)
    _mount_memory(HOME.lstrip("/"), f"size={disk_bytes},nr_inodes={_MAX_FILES},mode=700")


def _mount_memory(where: str, options: str) -> None:
    libc_call("mount", b"tmpfs", os.fsencode(where), b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode())
