# SPDX-License-Identifier: Apache-2.0
"""sipp, which we did not write, as the SIP stack of a client: a process runs a scenario of sipp/,
and what it sent and received is read from its message trace while it runs."""
import os
import re
import signal
import socket
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
HEAD = re.compile(rb"-{20,} (\d+-\d+-\d+ \d+:\d+:\d+)(\.\d+)\n"
                  rb"\S+ message (sent|received) [(\[](\d+)\]? bytes\)? ?:\n\n")
SHORT = {"i": "call-id", "f": "from", "t": "to", "v": "via", "m": "contact", "o": "event",
         "l": "content-length", "c": "content-type"}


class Message:
    """One SIP message of a trace."""

    def __init__(self, at, received, data):
        self.at, self.received = at, received
        head, _, body = data.decode(errors="replace").partition("\r\n\r\n")
        self.start, *lines = head.split("\r\n")
        self.body = body.strip()
        self.headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            self.headers.setdefault(SHORT.get(name, name), value.strip())

    @property
    def status(self):
        """Of a response, else 0."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self):
        return self.headers.get("cseq", "0 ?").split()[1]

    def header(self, name):
        return self.headers.get(name, "")

    def tag(self, name):
        found = re.search(r";\s*tag=([^;>\s]+)", self.header(name))
        return found[1] if found else ""


class Trace:
    """Reads a growing trace."""

    def __init__(self, path):
        self.path, self.file, self.data = path, None, b""

    def read(self):
        """The messages that are new and complete."""
        if not self.file:
            if not os.path.exists(self.path):
                return []
            self.file = open(self.path, "rb")
        self.data += self.file.read()
        messages, start = [], 0
        for head in iter(lambda: HEAD.search(self.data, start), None):
            when, fraction, direction, size = head.groups()
            end = head.end() + int(size)
            if end > len(self.data):
                break
            at = time.mktime(time.strptime(when.decode(), "%Y-%m-%d %H:%M:%S")) + float(fraction)
            messages.append(Message(at, direction == b"received", self.data[head.end():end]))
            start = end
        self.data = self.data[start:]
        return messages


class Sipp:
    """A running sipp."""
    serial = 0

    def __init__(self, directory, scenario, address, remote=None, port=None, options=(), **words):
        Sipp.serial += 1
        os.makedirs(directory, exist_ok=True)
        base = f"{directory}/{Sipp.serial:03}-{scenario}"
        self.port = port or free_port(address)
        words.setdefault("domain", "muster.test")
        with open(f"{HERE}/sipp/{scenario}.xml") as file:
            text = file.read()
        for name, value in words.items():
            text = text.replace("{%s}" % name, str(value))
        with open(base + ".xml", "w") as file:
            file.write(text)
        self.trace = Trace(base + ".messages")
        if os.path.exists(self.trace.path):
            os.remove(self.trace.path)
        self.output = open(base + ".out", "wb")
        command = ["sipp", "-sf", base + ".xml", "-i", address, "-p", str(self.port), "-nostdin",
                   "-trace_msg", "-message_file", base + ".messages", "-message_overwrite", "false",
                   "-trace_err", "-error_file", base + ".errors", *options]
        self.process = subprocess.Popen(command + ([remote] if remote else []),
                                        stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def running(self):
        return self.process.poll() is None

    def wait(self, limit):
        """Its exit status; None when it did not end in time."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            return None

    def stop_calls(self):
        """Starts no new call, and ends with the last."""
        self.process.send_signal(signal.SIGUSR1)

    def end(self):
        if self.running:
            self.process.kill()
        self.process.wait()
        self.output.close()


class Reader:
    """One thread that reads the traces of an actor and hands on what is new."""
    PAUSE_SECONDS = 0.01

    def __init__(self, on_message):
        self.on_message, self.sipps, self.ended = on_message, [], False
        self.lock = threading.Lock()
        threading.Thread(target=self.run, daemon=True).start()

    def add(self, sipp):
        with self.lock:
            self.sipps.append(sipp)
        return sipp

    def run(self):
        while not self.ended:
            self.poll()
            time.sleep(self.PAUSE_SECONDS)

    def poll(self):
        with self.lock:
            for sipp in list(self.sipps):
                running = sipp.running  # before reading, so that nothing is missed
                for message in sipp.trace.read():
                    self.on_message(message)
                if not running:
                    self.sipps.remove(sipp)

    def end(self):
        self.ended = True


def free_port(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]
