# SPDX-License-Identifier: Apache-2.0
"""A SIP client made of sipp processes: a device that answers at the contact for as long as the
script runs, and one process for each thing that the client does itself."""
import re
import threading
import time

from actor import Actor, Failed, Ledger
from node import password_of
from sipp import Reader, Sipp

DOMAIN = "muster.test"
PORT = 5060
REQUEST_SECONDS = 10
PATIENCE_SECONDS = 1.5   # how long a message may stay unanswered before the other node is tried
IN_FLIGHT = 5            # messages that may wait for an answer at a time
RESEND_SECONDS = "4s"


class Sip(Actor):
    """sip NAME: a phone. News: `notify NAME open|closed STATE [NOTE]`, `message NAME TEXT`."""

    def __init__(self, script, name):
        super().__init__(script, name)
        self.ledger, self.node, self.device = Ledger(), None, None
        self.dialogs, self.transactions, self.texts = {}, set(), {}
        self.etag, self.talking, self.stream = "", None, None
        self.ready, self.ended, self.talker = False, False, None

    # ---- verbs ----

    def do_register(self, at, node):
        """register at NODE: binds its contact. It sends its requests to this node from now on."""
        self.switch_on(node)
        self.request("register", expires=3600)

    def do_guess(self, at, node):
        """guess at NODE: tries to register with a wrong password, which is refused."""
        self.switch_on(node)
        sipp = self.run("register", ("-m", "1"), expires=3600, password="a guess")
        status = sipp.wait(REQUEST_SECONDS)
        sipp.end()
        if not status:
            raise Failed(f"{self.name} was not refused; see {sipp.trace.path}")

    def switch_on(self, node):
        self.node = self.script.actor(node)
        if self.device:
            return
        self.directory = str(self.script.directory / f"sip-{self.name}")
        self.reader = Reader(self.on_message)
        self.address = self.script.actors["group"].client_address
        self.device = self.reader.add(Sipp(self.directory, "uas", self.address,
                                           options=("-deadcall_wait", "0")))

    def do_unregister(self):
        """unregister: removes its contact."""
        self.request("register", expires=0)

    def do_publish(self, basic, *note):
        """publish open|closed [NOTE]: an initial publication, or a change of the one it has."""
        match = f"SIP-If-Match: {self.etag}\n    " if self.etag else ""
        self.request("publish", expires=3600, basic=basic, note=" ".join(note), match=match)

    def do_subscribe(self, other):
        """subscribe NAME: to NAME's presence; NOTIFYs come to its contact."""
        self.request("subscribe", expires=3600, to=f"{other}@{DOMAIN}")

    def do_send(self, other, text):
        """send NAME TEXT: one IM; the text is its id as well."""
        self.ledger.note_sent(text)
        self.send_one(other, text)
        if text not in self.ledger.acknowledged:
            raise Failed(f"{self.name}: {text} was not acknowledged")

    def do_move(self, to, node):
        """move to NODE: it sends its requests there from now on."""
        self.node = self.script.actor(node)

    # ---- what it does ----

    def run(self, scenario, options=(), **words):
        words.setdefault("password", password_of(self.name))
        remote = f"{self.script.actors['group'].group.address(self.node.number)}:{PORT}"
        return self.reader.add(Sipp(
            self.directory, scenario, self.address, remote, options=options, user=self.name,
            contact=f"{self.address}:{self.device.port}", **words))

    def request(self, scenario, **words):
        sipp = self.run(scenario, ("-m", "1"), **words)
        status = sipp.wait(REQUEST_SECONDS)
        self.reader.poll()
        sipp.end()
        if status != 0:
            raise Failed(f"{self.name}: {scenario} failed; see {sipp.trace.path}")

    def send_one(self, other, text):
        sipp = self.run("message", ("-m", "1", "-cid_str", f"{text}@{self.name}",
                                    "-timeout", RESEND_SECONDS), to=f"{other}@{DOMAIN}", id=text)
        sipp.wait(REQUEST_SECONDS)
        self.reader.poll()
        sipp.end()

    # ---- what comes; in the reader's thread ----

    def on_message(self, message):
        handler = {"MESSAGE": self.on_im, "NOTIFY": self.on_notify, "SUBSCRIBE": self.on_subscribe,
                   "PUBLISH": self.on_publish}.get(message.method)
        if handler:
            handler(message)

    def on_im(self, message):
        call = message.header("call-id")
        if message.received and message.status:
            if 200 <= message.status < 300 and call in self.texts:
                self.ledger.note_acknowledged(self.texts[call], message.at)
        elif not message.received and not message.status:
            self.texts[call] = message.body
            self.ledger.note_sent(message.body, message.at)
        elif message.received:
            self.on_im_received(message, call)

    def on_im_received(self, message, call):
        """A copy of a request that we have is no second message (RFC 3261 8.2.2.2, 17.2.3)."""
        transaction = (call, message.tag("from"), message.header("cseq"))
        if transaction in self.transactions:
            return
        self.transactions.add(transaction)
        self.ledger.note_received(message.body, message.at)
        if not self.talking:
            self.tell("message", user_of(message.header("from")), message.body)

    def on_subscribe(self, message):
        if message.received and 200 <= message.status < 300:
            self.dialogs[message.header("call-id")] = (message.tag("to"), message.tag("from"),
                                                       user_of(message.header("to")))

    def on_notify(self, message):
        if not message.received or message.status:
            return
        call = message.header("call-id")
        remote, local, user = self.dialogs.get(call, (None, None, user_of(message.header("from"))))
        if remote and (message.tag("from"), message.tag("to")) != (remote, local):
            self.tell("stray-notify", call)
            return
        basic = re.search(r"basic>\s*(open|closed)", message.body)
        note = re.search(r"note[^>]*>([^<]*)<", message.body)
        state = message.header("subscription-state").partition(";")[0].strip()
        self.tell("notify", user, basic[1] if basic else "empty", state, note[1] if note else "")

    def on_publish(self, message):
        if message.received and message.status == 200:
            self.etag = message.header("sip-etag")

    # ---- talk ----

    def start_talk(self, other, per_second):
        self.talking, self.ready = other, True
        self.talker = threading.Thread(target=self.talk_on, args=(other, per_second), daemon=True)
        self.talker.start()

    def talk_on(self, other, per_second):
        """A stream of messages to one node; when it stops being answered, what is open goes to the
        other node, one by one and again and again, and the next stream as well."""
        serial = 0
        while self.ready:
            if not self.stream and not self.ledger.open:
                serial += 1
                self.stream = self.start_stream(other, per_second, f"{self.name}{serial}")
            if self.unanswered():
                self.end_stream()
            if not self.stream:
                self.send_open(other)
            time.sleep(0.05)
        if self.stream:
            self.stream.stop_calls()
            self.stream.wait(PATIENCE_SECONDS)
            self.end_stream()
        while self.ledger.open and not self.ended:
            self.send_open(other)

    def start_stream(self, other, per_second, prefix):
        return self.run("message", ("-r", str(per_second), "-m", "1000000", "-l", str(IN_FLIGHT),
                                    "-cid_str", f"{prefix}-%u@{self.name}"),
                        to=f"{other}@{DOMAIN}", id=f"{prefix}-[call_number]")

    def unanswered(self):
        """Does the stream go nowhere? It also does when sipp has given a message up."""
        latest = time.time() - PATIENCE_SECONDS
        return any(self.ledger.sent[message] < latest for message in self.ledger.open)

    def end_stream(self):
        if self.stream:
            self.stream.end()
            self.reader.poll()
            self.stream = None

    def send_open(self, other):
        """Sends once more what nobody acknowledged; to the other node next time if that fails."""
        for text in self.ledger.open:
            self.send_one(other, text)
            if text not in self.ledger.acknowledged:
                nodes = self.script.actors["n1"], self.script.actors["n2"]
                self.node = next(node for node in nodes if node is not self.node)

    def stop_talk(self):
        """No new messages; what is in flight may still be answered."""
        self.ready = False

    def is_settled(self):
        return not self.talker.is_alive() and not self.ledger.open

    def end_talk(self):
        self.talking = None

    def end(self):
        self.ready, self.ended = False, True
        if self.device:
            self.reader.end()
            self.end_stream()
            self.device.end()


def user_of(header):
    found = re.search(r"sip:([^@>;]+)@", header)
    return found[1] if found else "?"
