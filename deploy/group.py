# SPDX-License-Identifier: Apache-2.0
"""A redundancy group of two nodes on this machine, all of it below one directory.

    DIR/group.json              what `up` was told, for the other verbs
    DIR/bin, DIR/share          copies of the programs and the schema
    DIR/ca                      the group's certificate authority
    DIR/nodeN/                  node.conf, tls/ run/ log/ state/ and, by recoveryd, data/

Root owns nothing of a group: started as root, we make the directory, hand it to an unprivileged
user and become that user for the rest (PostgreSQL refuses root). Where that user cannot get at DIR, or its name
is too long for a socket or would need quotes, DIR becomes a link to a directory of /var/tmp.
"""
import json
import os
import pwd
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import certificates
import processes
from netns import Namespaces

HERE = os.path.dirname(os.path.realpath(__file__))
NODES = (1, 2)
DOMAIN = "muster.test"
PROGRAMS = ("proxyd", "presenced", "routerd", "syncagent", "recoveryd", "nodectl")
PORTS = (5060, 5061, 5062, 5222, 5223, 5432, 7400, 7401, 9464)
UP_SECONDS = 60
DIRECTORY_MAX = 107 - len("/node1/run/.s.PGSQL.5432.lock")  # sun_path of unix(7)
USABLE = re.compile(r"[\w./+-]{1,%d}" % DIRECTORY_MAX, re.ASCII)  # no quoting in conninfo and SQL
OPEN_FILES = 65536


class Refused(Exception):
    """A sentence for whoever called."""


class Group:
    def __init__(self, directory, user=None):
        self.path = os.path.abspath(directory)  # as it was named, maybe a link
        self.dir = os.path.realpath(self.path)  # which only root may be able to follow
        self.user = unprivileged_user(user) if os.geteuid() == 0 else None
        self.settings = {"netns": False, "sets": []}
        self.load()

    def load(self):
        try:
            with open(f"{self.dir}/group.json") as file:
                self.settings = json.load(file)
        except FileNotFoundError:
            pass
        if self.user:
            self.user = unprivileged_user(self.settings.get("user", self.user.pw_name))

    @property
    def exists(self):
        return os.path.exists(f"{self.dir}/group.json")

    def node_dir(self, node):
        return f"{self.dir}/node{node}"

    @property
    def namespaces(self):
        return Namespaces(self.dir, NODES) if self.settings["netns"] else None

    def address(self, node):
        return self.namespaces.address(node) if self.settings["netns"] else f"127.0.1.{node}"

    # ---- up ----

    def prepare(self, programs, schema, netns=False, sets=()):
        """Makes or updates everything below the directory; starts nothing."""
        missing = [name for name in PROGRAMS if not os.access(f"{programs}/{name}", os.X_OK)]
        if missing:
            raise Refused(f"{programs} has no {', '.join(missing)}: run make first")
        if netns and os.geteuid() != 0:
            raise Refused("--netns needs root: only root can make network namespaces")
        self.make_directory()
        self.settings = {"netns": netns, "sets": list(sets),
                         "user": self.user.pw_name if self.user else None}
        contents = {f"bin/{name}": read(f"{programs}/{name}") for name in PROGRAMS}
        contents["bin/keeper"] = read(f"{HERE}/keeper")
        for name in (name for name in os.listdir(schema) if name.endswith(".sql")):
            contents[f"share/muster/schema/{name}"] = read(f"{schema}/{name}")
        self.as_user(self.lay_out, contents)
        if netns:
            self.namespaces.make()

    def make_directory(self):
        if self.exists:
            return
        if os.path.isdir(self.path) and os.listdir(self.path):
            raise Refused(f"{self.path} is in use for something else")
        if os.path.islink(self.path):
            os.unlink(self.path)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        if not USABLE.fullmatch(self.path) or not self.reachable(os.path.dirname(self.path)):
            if os.path.isdir(self.path):
                os.rmdir(self.path)
            os.symlink(tempfile.mkdtemp(prefix="muster-", dir="/var/tmp"), self.path)
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        self.dir = os.path.realpath(self.path)
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)

    def reachable(self, directory):
        return not self.user or self.as_user(os.access, directory, os.X_OK, check=False)

    def lay_out(self, contents):
        for name, content in contents.items():
            path = f"{self.dir}/{name}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path + ".new", "wb") as file:
                file.write(content)
            os.chmod(path + ".new", 0o755 if name.startswith("bin/") else 0o644)
            os.replace(path + ".new", path)
        if not os.path.exists(f"{self.dir}/ca/ca.crt"):
            certificates.make_authority(f"{self.dir}/ca")
        for node in NODES:
            for name in "run", "log", "state", "tls":
                os.makedirs(f"{self.node_dir(node)}/{name}", mode=0o700, exist_ok=True)
            self.write_certificate(node)
            with open(f"{self.node_dir(node)}/node.conf", "w") as file:
                file.write(self.node_conf(node))
        with open(f"{self.dir}/group.json", "w") as file:
            json.dump(self.settings, file)

    def write_certificate(self, node):
        """A new one if there is none for the node's address."""
        tls, address = f"{self.node_dir(node)}/tls", self.address(node)
        mark = f"{tls}/address"
        if os.path.exists(mark) and read(mark).decode() == address:
            return
        certificates.make_node(f"{self.dir}/ca", tls, DOMAIN, f"n{node}", address)
        with open(mark, "w") as file:
            file.write(address)

    def node_conf(self, node):
        tls = f"{self.node_dir(node)}/tls"
        hosts = ",".join(self.address(n) for n in NODES)
        lines = ["# Written by quickgroup up, each time.",
                 f"node = {node}",
                 f"domain = {DOMAIN}",
                 "nodes = " + " ".join(f"{n}:n{n}:1:{self.address(n)}" for n in NODES),
                 "tls_cert = tls/node.crt",
                 "tls_key = tls/node.key",
                 "tls_ca = tls/ca.crt",
                 "database = managed",
                 f"postgres_bin = {postgres_bin()}",
                 f"conninfo = host={hosts} port=5432,5432 dbname=muster user=muster "
                 "target_session_attrs=read-write connect_timeout=2 "
                 f"sslmode=verify-full sslrootcert={tls}/ca.crt "
                 f"sslcert={tls}/node.crt sslkey={tls}/node.key"]
        for text in self.settings["sets"]:
            name, _, value = text.partition("=")
            lines.append(f"set.{name} = {value}")
        return "\n".join(lines) + "\n"

    def check_ports(self):
        """Another group on the same addresses is the usual mistake: say so before anything starts."""
        if self.settings["netns"]:
            return
        for node in NODES:
            for port in PORTS:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        probe.bind((self.address(node), port))
                    except OSError as error:
                        raise Refused(f"{self.address(node)} port {port}: {error.strerror}; is "
                                      "another group up on this machine?") from None

    def start_node(self, node):
        """Starts the node's keeper, which starts recoveryd, which starts the rest."""
        if not self.exists:
            raise Refused(f"there is no group in {self.path}: quickgroup up makes one")
        if processes.of_node(self.node_dir(node)):
            raise Refused(f"node {node} runs already")
        directory = self.node_dir(node)
        command = [f"{self.dir}/bin/keeper", f"{directory}/log/recoveryd.log",
                   f"{self.dir}/bin/recoveryd", "--dir", directory]
        if self.settings["netns"]:
            command = ["ip", "netns", "exec", self.namespaces.name(node), "setpriv",
                       f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}",
                       "--clear-groups"] + command
        subprocess.Popen(command, cwd=directory, env=self.environment(), start_new_session=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, preexec_fn=raise_open_files,
                         **({} if self.settings["netns"] else self.credentials()))

    def wait_normal(self, seconds=UP_SECONDS):
        """Until both nodes are Normal/Normal and each commit is in both databases. False when that
        does not come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.states() == [("Normal", "Normal")] * len(NODES) and self.synchronous():
                return True
            time.sleep(0.2)
        return False

    def states(self, node=NODES[0]):
        """What a node says of all: [(state, reason), ...]; empty when it says nothing."""
        result = self.nodectl(node, "--json", "ha", "status")
        try:
            nodes = json.loads(result.stdout)["nodes"]
            return [(one["state"], one["reason"]) for one in sorted(nodes, key=lambda n: n["node"])]
        except (ValueError, KeyError):
            return []

    def synchronous(self, node=NODES[0]):
        """Does a standby stream, and do commits wait for it?"""
        result = self.nodectl(node, "--json", "dbreplication", "runtimestate")
        try:
            return any(one["role"] == "standby" and one["state"] == "streaming"
                       and one["sync_state"] == "sync"
                       for one in json.loads(result.stdout)["replication"])
        except (ValueError, KeyError):
            return False

    def nodectl(self, node, *words, **options):
        return subprocess.run([f"{self.dir}/bin/nodectl", "--dir", self.node_dir(node), *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              cwd=self.dir, env=self.environment(), **self.credentials(), **options)

    def add_users(self, count):
        """Provisions u000000, u000001, ... with passwords p000000, p000001, ..."""
        rows = [f"u{n:06},p{n:06},User {n},u{n:06}@{DOMAIN}," for n in range(count)]
        self.import_users(rows)

    def import_users(self, rows):
        path = f"{self.dir}/users.csv"
        self.as_user(certificates.write_private, path, ("\n".join(rows) + "\n").encode())
        result = self.nodectl(NODES[0], "user", "import", path)
        os.unlink(path)
        if result.returncode != 0:
            raise Refused("user import: " + (result.stderr or result.stdout).strip())

    # ---- down ----

    def kill_node(self, node):
        """SIGKILL to every process of the node, PostgreSQL included, as a power cut would."""
        if not processes.kill(self.node_dir(node)):
            raise Refused(f"some processes of node {node} do not die")

    def down(self):
        """Ends whatever of the group runs; its data stays."""
        processes.stop([self.node_dir(node) for node in NODES])
        if self.settings["netns"]:
            self.namespaces.remove()

    def remove(self):
        """Ends the group and deletes all of it."""
        self.down()
        if not self.exists:
            return
        if os.path.islink(self.path):
            os.unlink(self.path)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- privileges ----

    def environment(self):
        return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": self.dir, "LC_ALL": "C.UTF-8",
                "MUSTER_LOG_TIME": "1",
                **{name: text for name, text in os.environ.items() if name.endswith("SAN_OPTIONS")}}

    def credentials(self):
        if not self.user:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def as_user(self, function, *arguments, check=True):
        """Calls a function as the unprivileged user: in a child that can't become root again."""
        if not self.user:
            return function(*arguments)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            run_as(self.user, function, arguments, check)
        done = os.waitpid(child, 0)[1] == 0
        if check and not done:
            raise Refused(f"could not prepare {self.path} as user {self.user.pw_name}")
        return done


def run_as(user, function, arguments, check):
    """The child's life; never returns."""
    status = 1
    try:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.umask(0o077)
        result = function(*arguments)
        status = 0 if check or result else 1
    except BaseException:  # whatever it is, this copy of the program must end here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def unprivileged_user(name):
    """The user that root becomes: the one named, else muster, else nobody."""
    for candidate in [name] if name else ["muster", "nobody"]:
        try:
            user = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if user.pw_uid != 0:
            return user
        raise Refused("a group does not run as root; name another --user")
    raise Refused(f"no such user: {name or 'nobody'}")


def raise_open_files():
    """A connection is a file, and 1024 of them are few."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def postgres_bin():
    """Where this machine keeps PostgreSQL's programs: the newest version."""
    root = "/usr/lib/postgresql"
    versions = sorted((name for name in os.listdir(root) if name.isdigit()), key=int)
    if not versions:
        raise Refused(f"no PostgreSQL in {root}")
    return f"{root}/{versions[-1]}/bin"


def read(path):
    with open(path, "rb") as file:
        return file.read()
