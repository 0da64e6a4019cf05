#!/usr/bin/env python3
"""The system calls that a unit allows, as `systemd-analyze syscall-filter` expands its groups.

    filter.py UNIT                       prints them, one a line
    filter.py UNIT --seen STRACE_OUTPUT  says which calls of an `strace -f -o` are not among them (status 1 if any)
    filter.py UNIT --run PROGRAM ARGS... runs the program with nothing else allowed (python3-seccomp; status 77 without)
"""

import os
import re
import subprocess
import sys


def group(name, known):
    """The calls of a name: itself, or those of a group and of the groups in it."""
    if not name.startswith("@"):
        return {name}
    if name not in known:
        told = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True)
        if told.returncode != 0:
            sys.exit(f"{name}: this systemd does not know it: {told.stderr.strip()}")
        lines = [line.split("#")[0].strip() for line in told.stdout.splitlines()[1:]]
        known[name] = [line for line in lines if line]
    return set().union(*(group(each, known) for each in known[name]))


def allowed(unit):
    """What the unit's SystemCallFilter lines leave: the first list allows, lists that begin with ~ take away."""
    calls, known = set(), {}
    with open(unit, encoding="utf-8") as lines:
        for line in lines:
            found = re.fullmatch(r"SystemCallFilter=(~?)(.*)", line.strip())
            if found:
                names = set().union(*(group(name, known) for name in found[2].split()))
                calls = calls - names if found[1] else calls | names
    if not calls:
        sys.exit(f"{unit}: no SystemCallFilter")
    # systemd lets these through whatever a list says, since a process could not be started or ended without them.
    return calls | group("@default", known) | {"execve", "exit", "exit_group", "rt_sigreturn", "sigreturn"}


def seen(path):
    """The calls in what strace wrote."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        found = (re.match(r"(?:\d+\s+)?([a-z_0-9]+)\(", line) for line in lines)
        return {each[1] for each in found if each}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    calls = allowed(sys.argv[1])
    if len(sys.argv) == 2:
        print("\n".join(sorted(calls)))
    elif sys.argv[2] == "--seen":
        made = seen(sys.argv[3])
        if "io_uring_enter" not in made:
            sys.exit(f"{sys.argv[3]}: no io_uring_enter: this run proves nothing")
        refused = sorted(made - calls)
        if refused:
            sys.exit(f"{sys.argv[1]} refuses what the program calls: {' '.join(refused)}")
        print(f"{sys.argv[1]}: {len(made)} different calls were made, each of which it allows")
    elif sys.argv[2] == "--run":
        try:
            import seccomp
        except ImportError:
            print("python3-seccomp is not here", file=sys.stderr)
            sys.exit(77)
        filter_of = seccomp.SyscallFilter(defaction=seccomp.ERRNO(1))
        for call in calls:
            try:
                filter_of.add_rule(seccomp.ALLOW, call)
            except (RuntimeError, ValueError, OSError):
                # A call that this machine's kind does not have.
                continue
        filter_of.load()
        os.execv(sys.argv[3], sys.argv[3:])
    else:
        sys.exit(__doc__)


main()
