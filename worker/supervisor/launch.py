"""`launch.py SIGNAL PARENT UID GID PROGRAM …`: become PROGRAM, and get SIGNAL when PARENT dies.

A small program of its own, because code that runs between fork and exec of a process with threads
can deadlock. UID -1 keeps the account.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(argv: list[str]) -> None:
    death_signal, parent, uid, gid = (int(word) for word in argv[:4])
    prctl = ctypes.CDLL(None).prctl
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # Only now: a change of account clears the death signal.
    prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
    program = argv[4:]
    try:
        os.execvp(program[0], program)  # noqa: S606  # the supervisor's own list
    except OSError as error:
        sys.exit(f"{program[0]} cannot be run: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
