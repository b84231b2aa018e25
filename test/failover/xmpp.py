# SPDX-License-Identifier: Apache-2.0
"""An XMPP client: slixmpp, which we did not write, with stream management."""
import asyncio
import collections
import logging
import threading
import time

logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
import slixmpp  # noqa: E402 (it complains while it is imported)

from actor import Actor, Failed, Ledger
from node import password_of

DOMAIN = "muster.test"
PORT = 5222
RETRY_SECONDS = 0.2
NEGOTIATION_SECONDS = 5
ACK_REQUEST_SECONDS = 0.2


class Unacknowledged(collections.deque):
    """slixmpp 1.8 forgets what was not acknowledged when it asks to resume, though it would send
    it again afterwards. This one is only emptied when a new session begins."""

    def clear(self):
        pass


class Loop:
    """One asyncio loop, in its own thread, for all clients of the script."""
    loop = None

    @classmethod
    def get(cls):
        if not cls.loop:
            cls.loop = asyncio.new_event_loop()
            threading.Thread(target=cls.run, daemon=True).start()
        return cls.loop

    @classmethod
    def run(cls):
        asyncio.set_event_loop(cls.loop)
        cls.loop.run_forever()

    @classmethod
    def call(cls, function, *arguments, limit=10):
        async def wrapped():
            return function(*arguments)
        return asyncio.run_coroutine_threadsafe(wrapped(), cls.get()).result(limit)


class Xmpp(Actor):
    """xmpp NAME: a chat client. News: `session NODE` (a new one), `resumed NODE`, `offline`,
    `presence NAME available|away|xa|dnd|chat|unavailable [STATUS]`, `message NAME TEXT`."""

    def __init__(self, script, name):
        super().__init__(script, name)
        self.ledger, self.client, self.node, self.former = Ledger(), None, None, []
        self.online, self.leaving, self.talking, self.serial = False, False, None, 0
        self.watchdog = self.pause = None

    @property
    def nodes(self):
        return self.script.actors["n1"], self.script.actors["n2"]

    # ---- verbs ----

    def do_login(self, at, node):
        """login at NODE: signs in over STARTTLS, asks for resumption, says that it is there."""
        self.open_at(node, password_of(self.name))
        if not self.seen("session", 15):
            raise Failed(f"{self.name} could not sign in at {node}")

    def do_guess(self, at, node):
        """guess at NODE: tries to sign in with a wrong password, which is refused."""
        self.open_at(node, "a guess", leaving=True)
        if not self.seen("refused", 15) or not self.seen("offline", 5):
            raise Failed(f"{self.name} was not refused at {node}")

    def open_at(self, node, password, leaving=False):
        self.node = self.script.actor(node)
        self.leaving = leaving
        Loop.call(self.make_client, password)
        Loop.call(self.connect)
        Loop.call(self.ask_for_acknowledgement)

    def do_logout(self):
        """logout: ends the session in good order."""
        self.leaving = True
        Loop.call(self.client.disconnect)
        if not self.seen("offline", 5):
            raise Failed(f"{self.name} could not sign out")

    def do_break(self):
        """break: the TCP connection breaks; the client looks for a node to resume its stream at."""
        self.script.fault_at = self.script.fault_done_at = time.time()
        Loop.call(self.client.abort)

    def do_befriend(self, other):
        """befriend NAME: asks to see NAME's presence and lets NAME see its own."""
        for kind in "subscribe", "subscribed":
            Loop.call(lambda kind=kind: self.client.send_presence_subscription(
                pto=f"{other}@{DOMAIN}", ptype=kind))

    def do_show(self, show, *status):
        """show available|away|xa|dnd|chat [STATUS]: changes its presence."""
        Loop.call(lambda: self.client.send_presence(
            pshow=None if show == "available" else show, pstatus=" ".join(status) or None))

    def do_send(self, other, text):
        """send NAME TEXT: one IM; the text is its id as well."""
        Loop.call(self.send_message, other, text)

    # ---- the client's life; all in the loop's thread ----

    def make_client(self, password):
        self.former.append(self.client)  # slixmpp complains when one is collected
        self.client = client = slixmpp.ClientXMPP(f"{self.name}@{DOMAIN}", password)
        client.ca_certs = self.script.actors["group"].group.dir + "/ca/ca.crt"
        client.max_redirects = -1  # we go where we are sent ourselves
        client.register_plugin("xep_0198", {"window": 1000000})
        client.register_plugin("xep_0199")
        client["xep_0198"].unacked_queue = Unacknowledged()
        for event, handler in (("session_start", self.on_session),
                               ("session_resumed", self.on_resumed),
                               ("disconnected", self.on_disconnected),
                               ("connection_failed", self.on_connection_failed),
                               ("stanza_acked", self.on_acknowledged),
                               ("message", self.on_message),
                               ("presence", self.on_presence),
                               ("presence_subscribe", self.on_subscribe),
                               ("failed_auth", lambda _: self.tell("refused")),
                               ("stream_error", self.on_stream_error)):
            client.add_event_handler(event, handler)

    def connect(self):
        self.client.connect((self.script.actors["group"].group.address(self.node.number), PORT))
        self.watch(NEGOTIATION_SECONDS)

    def watch(self, limit):
        """A connection on which nothing comes to an end is given up."""
        if self.watchdog:
            self.watchdog.cancel()
        self.watchdog = Loop.get().call_later(limit, self.on_silence) if limit else None

    def on_silence(self):
        if not self.online and not self.leaving:
            self.client.abort() if self.client.is_connected() else self.on_connection_failed(None)

    def on_session(self, _):
        collections.deque.clear(self.client["xep_0198"].unacked_queue)
        self.begin("session")
        self.client.send_presence()
        self.client.get_roster()

    def on_resumed(self, _):
        self.begin("resumed")

    def begin(self, how):
        """What slixmpp won't send again by itself, we do."""
        self.online = True
        self.watch(0)
        self.tell(how, self.node.name)
        held = {stanza["id"] for _, stanza in self.client["xep_0198"].unacked_queue}
        for message in self.ledger.open:
            if self.talking and message not in held:
                self.send_message(self.talking, message)

    def on_disconnected(self, _):
        self.online = False
        self.tell("offline")
        if not self.leaving:
            self.go_elsewhere()

    def on_connection_failed(self, _):
        self.client.cancel_connection_attempt()
        if not self.leaving:
            self.go_elsewhere()

    def on_stream_error(self, error):
        """`see-other-host` names the node to go to: then go_elsewhere() leads there."""
        self.tell("error", error["condition"])
        group = self.script.actors["group"].group
        for node in self.nodes:
            if error["see_other_host"].startswith(group.address(node.number) + ":"):
                self.node = next(other for other in self.nodes if other is not node)

    def go_elsewhere(self):
        self.node = next(node for node in self.nodes if node is not self.node)
        self.watch(0)
        Loop.get().call_later(RETRY_SECONDS, self.connect)

    def on_acknowledged(self, stanza):
        if isinstance(stanza, slixmpp.Message):
            self.ledger.note_acknowledged(stanza["id"])

    def on_message(self, message):
        if message["type"] == "error":
            self.tell("error", message["error"]["condition"], message["id"])
        elif message["body"]:
            text = message["body"].strip()  # sipp ends its bodies with a line end
            self.ledger.note_received(text)
            if not self.talking:
                self.tell("message", message["from"].local, text)

    def on_presence(self, presence):
        kind = presence["type"]
        if presence["from"].bare != self.client.boundjid.bare and kind not in (
                "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe"):
            self.tell("presence", presence["from"].local, kind, presence["status"])

    def on_subscribe(self, presence):
        self.tell("asked", presence["from"].local)

    def ask_for_acknowledgement(self):
        if self.online and self.client["xep_0198"].unacked_queue:
            self.client["xep_0198"].request_ack()
        if not self.leaving:
            Loop.get().call_later(ACK_REQUEST_SECONDS, self.ask_for_acknowledgement)

    def send_message(self, other, text):
        message = self.client.make_message(mto=f"{other}@{DOMAIN}", mbody=text, mtype="chat")
        message["id"] = text
        self.ledger.note_sent(text)
        message.send()

    # ---- talk ----

    def start_talk(self, other, per_second):
        self.talking, self.pause = other, 1 / per_second
        Loop.call(self.talk_on)

    def talk_on(self):
        if self.pause:
            Loop.get().call_later(self.pause, self.talk_on)
            if self.online:
                self.serial += 1
                self.send_message(self.talking, f"{self.name}-{self.serial}")

    def stop_talk(self):
        self.pause = None

    def is_settled(self):
        return not self.ledger.open

    def end_talk(self):
        self.talking = None

    def end(self):
        self.leaving = True
        if self.client:
            Loop.call(self.client.abort)
