# SPDX-License-Identifier: Apache-2.0
"""What all actors of a failover script share: verbs, news, and a ledger of their messages."""
import re
import threading
import time


class Failed(Exception):
    """A line of the script did not come true."""


def seconds(text):
    match = re.fullmatch(r"(\d+)(ms|s)", text)
    if not match:
        raise Failed(f"{text} is no time: 200ms, 5s")
    return int(match[1]) / (1000 if match[2] == "ms" else 1)


class Actor:
    """An actor's verbs are its methods do_VERB; a verb's docstring is its manual. What happens to
    an actor is its news, short lines such as `presence bob away`; `expect` reads them in order."""

    def __init__(self, script, name):
        self.script, self.name = script, name
        self.news, self.read, self.changed = [], 0, threading.Condition()

    def tell(self, *words):
        with self.changed:
            self.news.append((time.time(), " ".join(str(word) for word in words)))
            self.changed.notify_all()

    def do_expect(self, *words):
        """expect NEWS within TIME: it happened after what was expected before it, or will in TIME."""
        *news, within, limit = words
        if within != "within":
            raise Failed("expect ... within TIME")
        if not self.seen(" ".join(news), seconds(limit)):
            raise Failed(f"{self.name}: no `{' '.join(news)}` within {limit}")

    def do_never(self, *words):
        """never NEWS for TIME: it did not happen since what was expected last, and won't in TIME."""
        *news, for_, period = words
        if for_ != "for":
            raise Failed("never ... for TIME")
        read = self.read
        if self.seen(" ".join(news), seconds(period)):
            raise Failed(f"{self.name}: {self.news[self.read - 1][1]}")
        self.read = read

    def seen(self, start, limit):
        """Waits for news that begins with these words."""
        deadline = time.monotonic() + limit
        with self.changed:
            while True:
                while self.read < len(self.news):
                    self.read += 1
                    if (self.news[self.read - 1][1] + " ").startswith(start + " "):
                        return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(left)

    def last_words(self, count=8):
        return [f"{time.strftime('%H:%M:%S', time.localtime(at))} {text}"
                for at, text in self.news[-count:]]

    def end(self):
        """The script is over: let go of everything."""


class Ledger:
    """What an actor sent, what of it was acknowledged to it, and what it received; wall clock."""

    def __init__(self):
        self.sent, self.acknowledged, self.received = {}, {}, {}

    def note_sent(self, message, at=None):
        self.sent.setdefault(message, at or time.time())

    def note_acknowledged(self, message, at=None):
        self.acknowledged.setdefault(message, at or time.time())

    def note_received(self, message, at=None):
        self.received.setdefault(message, []).append(at or time.time())

    @property
    def open(self):
        """Sent and not acknowledged, oldest first."""
        return [message for message in list(self.sent) if message not in self.acknowledged]


def wait_until(condition, limit, pause=0.05):
    """For conditions that nobody tells us about. True when it came true in time."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
