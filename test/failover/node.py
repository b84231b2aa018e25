# SPDX-License-Identifier: Apache-2.0
"""The group and its nodes, by deploy/quickgroup's own code."""
import json
import os
import re
import signal
import shlex
import shutil
import subprocess
import threading
import time

import group as quickgroup
import processes
from actor import Actor, Failed, seconds, wait_until

LOG_LINES = 40
ERROR = re.compile(r"level=error |Sanitizer: |runtime error: |Assertion .* failed")


class Node(Actor):
    """n1, n2: a node, with everything that runs on it."""

    def __init__(self, script, name, number, group):
        super().__init__(script, name)
        self.number, self.group = number, group
        self.broken = set()

    @property
    def directory(self):
        return self.group.node_dir(self.number)

    def fault(self, action, *arguments):
        """Does something bad, and notes from when to when."""
        self.script.fault_at = time.time()
        action(*arguments)
        self.script.fault_done_at = time.time()

    def do_start(self):
        """start: starts the node after `kill`."""
        self.group.start_node(self.number)

    def do_kill(self):
        """kill: SIGKILL to every process of the node, PostgreSQL included, as a power cut would."""
        self.fault(self.group.kill_node, self.number)

    def do_kill_service(self, service):
        """kill-service NAME: SIGKILL to a daemon or to PostgreSQL (`database`, with its children)."""
        if not self.processes(service):
            raise Failed(f"{self.name} runs no {service}")
        self.fault(self.signal_service, service, signal.SIGKILL)

    def do_break_service(self, service):
        """break-service NAME: it ends whenever it is started, until `mend-service`."""
        self.broken.add(service)
        self.do_kill_service(service)
        threading.Thread(target=self.keep_killing, args=(service,), daemon=True).start()

    def do_mend_service(self, service):
        """mend-service NAME: after `break-service`."""
        self.broken.discard(service)

    def do_pause(self, service):
        """pause NAME: SIGSTOP, as if the daemon hung. `continue` ends it."""
        self.fault(self.signal_service, service, signal.SIGSTOP)

    def do_continue(self, service):
        """continue NAME: SIGCONT after `pause`."""
        self.signal_service(service, signal.SIGCONT)

    def processes(self, service):
        role = "postgres" if service == "database" else service
        return [process for process in processes.of_node(self.directory) if process.role == role]

    def signal_service(self, service, number):
        for process in self.processes(service):
            process.signal(number)

    def keep_killing(self, service):
        while service in self.broken:
            self.signal_service(service, signal.SIGKILL)
            time.sleep(0.05)

    def end(self):
        self.broken.clear()

    def do_nodectl(self, *words):
        """nodectl WORDS [-> exit N]: the command ends with exit status N (0 if not said)."""
        words, status = list(words), 0
        if words[-3:-1] == ["->", "exit"]:
            words, status = words[:-3], int(words[-1])
        if words[:2] in (["ha", "failover"], ["ha", "fallback"]):
            self.script.fault_at = self.script.fault_done_at = time.time()
        result = self.group.nodectl(self.number, *words)
        if result.returncode != status:
            raise Failed(f"nodectl {shlex.join(words)} ended with {result.returncode}: "
                         + (result.stderr + result.stdout).strip())

    def do_expect(self, *words):
        """expect STATE REASON within TIME: the node says so of itself; or: expect database ROLE
        within TIME, ROLE being primary or standby; or: expect service NAME STATE within TIME."""
        *what, within, limit = words
        if within != "within" or len(what) < 2:
            raise Failed("expect STATE REASON within TIME")
        if what[0] == "database":
            come = wait_until(lambda: self.is_primary() == (what[1] == "primary"), seconds(limit))
        elif what[0] == "service":
            come = wait_until(lambda: self.service(what[1]) == what[2], seconds(limit))
        else:
            come = wait_until(lambda: self.state() == tuple(what), seconds(limit))
        if not come:
            raise Failed(f"{self.name} is {self.state()}, not {' '.join(what)}, after {limit}")
        if what[0] == "Running in Backup Mode":
            self.script.measure("full service after", time.time() - self.script.fault_at)

    def do_never(self, *words):
        """never STATE for TIME: the node does not say that of itself."""
        state, for_, period = words
        if wait_until(lambda: self.state()[:1] == (state,), seconds(period)):
            raise Failed(f"{self.name} is {self.state()}")

    def status(self):
        try:
            nodes = json.loads(self.group.nodectl(self.number, "--json", "ha", "status").stdout)
            return next(one for one in nodes["nodes"] if one["node"] == self.number)
        except (ValueError, KeyError, StopIteration):
            return {}

    def state(self):
        status = self.status()
        return (status["state"], status["reason"]) if status else ("silent",)

    def is_primary(self):
        return self.status().get("database_primary", False)

    def service(self, name):
        try:
            reply = json.loads(self.group.nodectl(self.number, "--json", "service", "list").stdout)
            return next(one for one in reply["services"] if one["name"] == name)["state"]
        except (ValueError, KeyError, StopIteration):
            return "unknown"

    def log_files(self):
        directory = f"{self.directory}/log"
        names = os.listdir(directory) if os.path.isdir(directory) else []
        return [f"{directory}/{name}" for name in sorted(names)]

    def errors(self):
        """Log lines of level error of our daemons, and what sanitizers say."""
        found = []
        for path in self.log_files():
            with open(path, errors="replace") as file:
                found += [line.strip() for line in file if ERROR.search(line)]
        return found

    def last_words(self, count=LOG_LINES):
        words = []
        for path in self.log_files():
            with open(path, errors="replace") as file:
                words += [f"{os.path.basename(path)}: {line.rstrip()}"
                          for line in file.readlines()[-count:]]
        return words


class Group(Actor):
    """group: the two nodes together."""

    def __init__(self, script):
        super().__init__(script, "group")
        self.group = quickgroup.Group(str(script.directory / "group"))
        self.tolerated = []
        for number in quickgroup.NODES:
            script.actors[f"n{number}"] = Node(script, f"n{number}", number, self.group)

    def do_up(self, *words):
        """up [netns] [SERVICE.PARAM=VALUE]...: starts both nodes and waits for Normal/Normal."""
        sets = [word for word in words if "=" in word]
        self.group.prepare(str(self.script.bin), quickgroup.HERE + "/schema",
                           "netns" in words, sets)
        self.group.check_ports()
        for number in quickgroup.NODES:
            self.group.start_node(number)
        if not self.group.wait_normal():
            raise Failed(f"not Normal/Normal within {quickgroup.UP_SECONDS} s")

    def do_users(self, *names):
        """users NAME...: provisions them, each with a password that its actor knows; their homes
        are given out in turn, so the first one's is n1, the second one's n2."""
        self.group.import_users([f"{name},{password_of(name)},{name.title()},,"
                                 for name in names])

    def do_expect(self, *words):
        """expect STATE REASON within TIME: both nodes are in it."""
        state, reason, within, limit = words
        want = [(state, reason)] * len(quickgroup.NODES)
        if not wait_until(lambda: self.group.states() == want, seconds(limit)):
            raise Failed(f"the group is {self.group.states()}, not {state}, {reason}, "
                         f"after {limit}")

    def do_tolerate(self, event):
        """tolerate EVENT: the daemons may log it as an error in this script."""
        self.tolerated.append(event)

    def do_shell(self, *words):
        """shell WORDS: a command of this machine; it must end with exit status 0. For namespaces:
        `{ns1}` and `{ns2}` are their names."""
        names = self.group.namespaces
        words = [word.format(**{f"ns{n}": names.name(n) for n in quickgroup.NODES})
                 if names else word for word in words]
        subprocess.run(words, check=True)

    def unexpected_errors(self):
        nodes = [self.script.actors[f"n{number}"] for number in quickgroup.NODES]
        return [line for node in nodes for line in node.errors()
                if not any(f" event={event}" in line for event in self.tolerated)]

    @property
    def client_address(self):
        """Where clients on this machine have their sockets."""
        return self.group.namespaces.address(254) if self.group.namespaces else "127.0.0.1"

    def end(self):
        self.group.down()

    def keep_logs(self, directory):
        for number in quickgroup.NODES:
            source, target = self.group.node_dir(number), directory / f"node{number}"
            if os.path.isdir(source):
                shutil.copytree(f"{source}/log", target / "log", dirs_exist_ok=True)
                shutil.copy(f"{source}/node.conf", target)

    def remove(self):
        self.group.remove()


def password_of(name):
    return f"secret-of-{name}"
