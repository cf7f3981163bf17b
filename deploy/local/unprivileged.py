"""Run a program as `nobody`: PostgreSQL refuses to run as root.

    python unprivileged.py [--through-closed-folders] PROGRAM ARGUMENT...

Root's own home is closed to others, and the programs and the data may lie in it. With
--through-closed-folders (Linux) the program keeps the one capability that lets it pass.
"""

import ctypes
import os
import pwd
import sys

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
PR_CAPBSET_READ = 23
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
"""Without it access(2), by which initdb looks for its programs, asks for an unprivileged user as if it had no
capability (capabilities(7))."""
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522

USER = "nobody"


def become_unprivileged(*, through_closed_folders: bool) -> None:
    user = pwd.getpwnam(USER)
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([user.pw_gid])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    if through_closed_folders:
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)  # refused in some containers
        _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    if through_closed_folders:
        _keep_only(libc, _capability(libc))


def _capability(libc: ctypes.CDLL) -> int:
    """The lesser one, if this container has it."""
    if libc.prctl(PR_CAPBSET_READ, CAP_DAC_READ_SEARCH, 0, 0, 0) == 1:
        return CAP_DAC_READ_SEARCH
    return CAP_DAC_OVERRIDE


def _keep_only(libc: ctypes.CDLL, capability: int) -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; low, then high
    _check(libc.capset(header, data))
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(arguments: list[str]) -> None:
    through_closed_folders = arguments[0] == "--through-closed-folders"
    program = arguments[1:] if through_closed_folders else arguments
    become_unprivileged(through_closed_folders=through_closed_folders)
    os.execv(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
