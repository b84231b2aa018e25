# SPDX-License-Identifier: Apache-2.0
"""A bare XMPP client for load: direct TLS, SASL PLAIN, bind, XEP-0198. It understands just enough
XML to count; for correctness the conformance tests use clients that we did not write."""
import asyncio
import base64
import re
import ssl


class Client:
    def __init__(self, address, domain, user, password, ca):
        self.address, self.domain, self.user, self.password = address, domain, user, password
        self.tls = ssl.create_default_context(cafile=ca)
        self.messages = 0       # received
        self.acknowledged = 0   # of ours, by <a/>
        self.handled = 0        # stanzas received, for our <a/>
        self.on_message = None
        self.news = asyncio.Event()

    async def login(self):
        self.reader, self.writer = await asyncio.open_connection(
            self.address, 5223, ssl=self.tls, server_hostname=self.domain)
        await self.open_stream()
        token = base64.b64encode(f"\0{self.user}\0{self.password}".encode()).decode()
        await self.ask("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
                       f"{token}</auth>", "<success")
        await self.open_stream()
        await self.ask("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                       "<resource>bench</resource></bind></iq>", "</iq>")
        await self.ask("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "<enabled[^>]*>")
        self.send("<presence/>")
        self.task = asyncio.create_task(self.read())

    async def open_stream(self):
        await self.ask(f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0' "
                       "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
                       "</stream:features>")

    async def ask(self, text, answer):
        self.send(text)
        got = ""
        while not re.search(answer, got):
            data = await asyncio.wait_for(self.reader.read(65536), 20)
            if not data:
                raise ConnectionError(f"{self.user}: closed instead of {answer}: {got}")
            got += data.decode()
        return got

    def send(self, text):
        self.writer.write(text.encode())

    def send_message(self, to, number):
        self.send(f"<message to='{to}' type='chat' id='{self.user}-{number}'>"
                  f"<body>message {number}</body></message><r xmlns='urn:xmpp:sm:3'/>")

    async def read(self):
        rest = ""
        while data := await self.reader.read(65536):
            rest += data.decode()
            *whole, rest = re.split(r"(?<=>)(?=<(?:message|presence|iq|a|r)\b)", rest)
            if re.search(r"(/>|</(message|presence|iq|a|r)>)$", rest):
                whole.append(rest)
                rest = ""
            for stanza in whole:
                self.count(stanza)
            self.news.set()

    def count(self, stanza):
        if stanza.startswith("<r"):
            self.send(f"<a xmlns='urn:xmpp:sm:3' h='{self.handled}'/>")
        elif stanza.startswith("<a"):
            self.acknowledged = int(re.search(r"\bh=['\"](\d+)", stanza)[1])
        else:
            self.handled += 1
            if stanza.startswith("<message"):
                self.messages += 1
                if self.on_message:
                    self.on_message(stanza)

    async def until(self, condition, limit=60):
        async def wait():
            while not condition():
                self.news.clear()
                await self.news.wait()
        await asyncio.wait_for(wait(), limit)

    def close(self):
        self.task.cancel()
        self.writer.transport.abort()
