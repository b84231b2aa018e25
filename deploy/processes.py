# SPDX-License-Identifier: Apache-2.0
"""Finds and ends the processes of a node.

A process is one of a node's if its program is one of ours or PostgreSQL's and it works in the
node's directory or was told of it on its command line. Nothing has to be recorded, so nothing can
be out of date: a child that PostgreSQL started a moment ago works in the data directory too.
"""
import os
import signal
import time

KEEPER = "keeper"
DAEMONS = ("recoveryd", "routerd", "presenced", "proxyd", "syncagent")
POSTGRES = ("postgres", "initdb", "pg_basebackup", "pg_rewind", "pg_ctl", "pg_controldata")
PROGRAMS = (KEEPER,) + DAEMONS + POSTGRES


class Process:
    def __init__(self, pid, role, parent):
        self.pid, self.role, self.parent = pid, role, parent

    def signal(self, number):
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


def read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def inside(path, directory):
    return path == directory or path.startswith(directory + "/")


def of_node(directory):
    """The node's processes, in the order of PROGRAMS, parents before their children."""
    found = []
    for name in os.listdir("/proc"):
        role = read(name, "comm").strip() if name.isdigit() else ""
        if role not in PROGRAMS:
            continue
        words = read(name, "cmdline").split("\0")
        try:
            words.append(os.readlink(f"/proc/{name}/cwd"))
        except OSError:
            pass  # it has ended, or is another user's
        if any(inside(word, directory) for word in words):
            parent = int(read(name, "stat").rpartition(")")[2].split()[1] or 0)
            found.append(Process(int(name), role, parent))
    pids = {process.pid for process in found}
    return sorted(found, key=lambda p: (PROGRAMS.index(p.role), p.parent in pids, p.pid))


def kill(directory, seconds=10):
    """SIGKILL to all of the node, the keeper first so that nothing comes back. True when all have
    gone."""
    deadline = time.monotonic() + seconds
    while True:
        found = of_node(directory)
        if not found:
            return True
        if time.monotonic() > deadline:
            return False
        for process in found:
            process.signal(signal.SIGKILL)
        time.sleep(0.01)


def stop(directories, seconds=10):
    """Ends nodes in good order: keepers and recoveryds so that nothing is started again, then the
    daemons and PostgreSQL (SIGINT: its fast shutdown); what is left after that is killed."""
    everything = [process for directory in directories for process in of_node(directory)]
    for process in everything:
        if process.role in (KEEPER, "recoveryd"):
            process.signal(signal.SIGKILL)
    for process in everything:
        if process.role in DAEMONS:
            process.signal(signal.SIGTERM)
        elif process.role == "postgres" and not is_child(process, everything):
            process.signal(signal.SIGINT)
    deadline = time.monotonic() + seconds
    while any(of_node(directory) for directory in directories) and time.monotonic() < deadline:
        time.sleep(0.05)
    return all([kill(directory) for directory in directories])


def is_child(process, others):
    return any(other.pid == process.parent and other.role == process.role for other in others)
