# SPDX-License-Identifier: Apache-2.0
"""A steady exchange of IMs between two actors, counted exactly."""
import time

from actor import Actor, Failed, seconds, wait_until


class Talk(Actor):
    """talk: two actors send each other numbered IMs. Each keeps those that nobody acknowledged and
    sends them again, with their ids, as a good client does."""

    def __init__(self, script):
        super().__init__(script, "talk")
        self.pairs, self.fault_at = [], None

    def do_start(self, one, with_, other, at, rate):
        """start ONE with OTHER at N/s: both send N messages a second, until `stop`."""
        per_second = float(rate.removesuffix("/s"))
        first, second = self.script.actor(one), self.script.actor(other)
        self.pairs = [(first, second), (second, first)]
        for sender, receiver in self.pairs:
            sender.start_talk(receiver.name, per_second)

    def do_go_on(self, for_, period):
        """go-on for TIME: the exchange just goes on."""
        time.sleep(seconds(period))

    def do_expect(self, *words):
        """expect delivery within TIME: since the last fault, or now when there was none, a message
        sent after it has arrived in both directions; a fault's first one is measured."""
        what, within, limit = words
        if what != "delivery" or within != "within":
            raise Failed("expect delivery within TIME")
        measured = self.script.fault_at and self.script.fault_at != self.fault_at
        since = self.script.fault_done_at if measured else time.time()
        self.fault_at = self.script.fault_at
        if not wait_until(lambda: all(self.first_delivery(s, r, since) for s, r in self.pairs),
                          since + seconds(limit) - time.time(), 0.01):
            raise Failed(f"no delivery in both directions within {limit}: " + self.counts())
        for sender, receiver in self.pairs:
            if measured:
                took = self.first_delivery(sender, receiver, since) - self.script.fault_at
                self.script.measure(f"first delivery from {sender.name} to {receiver.name} after", took)

    def do_gap(self, of, name):
        """gap of NAME: messages were sent to NAME between the last fault and NAME's resumption,
        and each has come exactly once, or will within 5 s."""
        sender, receiver = next(pair for pair in self.pairs if pair[1].name == name)
        resumed = next((at for at, text in reversed(receiver.news) if text.startswith("resumed")), 0)
        between = [message for message, at in list(sender.ledger.sent.items())
                   if self.script.fault_done_at <= at < resumed]
        if not between:
            raise Failed(f"{sender.name} sent nothing while {name} was between nodes")
        if not wait_until(lambda: all(len(receiver.ledger.received.get(message, ())) == 1
                                      for message in between), 5):
            raise Failed(f"of {len(between)} messages sent to {name} between nodes not all came "
                         "exactly once")
        self.script.say(f"   while {name} was between nodes {sender.name} sent {len(between)} "
                        "messages; each came exactly once")

    def do_stop(self, *words):
        """stop [within TIME]: no new messages; every one that was sent must be acknowledged within
        TIME (30 s), and every acknowledged one must have arrived exactly once."""
        limit = seconds(words[1]) if words else 30
        for sender, _ in self.pairs:
            sender.stop_talk()
        wait_until(lambda: all(s.is_settled() for s, _ in self.pairs), limit)
        for sender, _ in self.pairs:
            sender.end_talk()
        wait_until(lambda: not any(self.lost(s, r) for s, r in self.pairs), 5)
        for line in self.counts().split("; "):
            self.script.say("   " + line)
        for sender, receiver in self.pairs:
            if sender.ledger.open or self.lost(sender, receiver) or doubled(sender, receiver):
                raise Failed(f"{sender.name} to {receiver.name}: "
                             f"not acknowledged {sender.ledger.open[:10]}, "
                             f"lost {self.lost(sender, receiver)[:10]}, "
                             f"doubled {doubled(sender, receiver)[:10]}")
            if not sender.ledger.sent:
                raise Failed(f"{sender.name} sent nothing")

    def counts(self):
        lines = []
        for s, r in self.pairs:
            got = [message for message in s.ledger.sent if message in r.ledger.received]
            lines.append(f"{s.name} to {r.name}: {len(s.ledger.sent)} sent, "
                         f"{len(s.ledger.acknowledged)} acknowledged, {len(got)} received, "
                         f"{len(self.lost(s, r))} lost, {len(doubled(s, r))} doubled")
        return "; ".join(lines)

    @staticmethod
    def lost(sender, receiver):
        return [message for message in sender.ledger.acknowledged
                if message not in receiver.ledger.received]

    @staticmethod
    def first_delivery(sender, receiver, since):
        """When the first message sent after `since` arrived; None while there is none."""
        times = [times[0] for message, times in list(receiver.ledger.received.items())
                 if sender.ledger.sent.get(message, 0) >= since]
        return min(times, default=None)


def doubled(sender, receiver):
    return [message for message in sender.ledger.sent
            if len(receiver.ledger.received.get(message, ())) > 1]
