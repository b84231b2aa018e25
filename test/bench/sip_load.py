# SPDX-License-Identifier: Apache-2.0
"""A bare SIP client for load, over UDP: digest authentication, PUBLISH, SUBSCRIBE, answers to NOTIFY
and MESSAGE. For correctness the conformance tests use sipp."""
import asyncio
import hashlib
import re
import uuid

PIDF = ('<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:{aor}">'
        '<tuple id="t1"><status><basic>{basic}</basic></status></tuple></presence>')


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


class Client(asyncio.DatagramProtocol):
    def __init__(self, address, domain, user, password):
        self.address, self.domain, self.user, self.password = address, domain, user, password
        self.aor = f"{user}@{domain}"
        self.challenge, self.count, self.cseq = None, 0, 0
        self.waiting = {}      # Call-ID and CSeq -> future of a response
        self.notifies = 0
        self.etag = None
        self.news = asyncio.Event()

    async def open(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self.transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, source):
        text = data.decode()
        if text.startswith("SIP/2.0"):
            key = (header(text, "Call-ID"), header(text, "CSeq"))
            if not text.startswith("SIP/2.0 1") and key in self.waiting:
                self.waiting.pop(key).set_result(text)
            return
        self.notifies += text.startswith("NOTIFY")
        copied = "".join(f"{name}: {value}\r\n" for name in ("Via", "From", "To", "Call-ID", "CSeq")
                         for value in re.findall(rf"^{name}: (.*?)\r$", text, re.M))
        self.transport.sendto(f"SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n".encode(),
                              source)
        self.news.set()

    def authorization(self, method, uri):
        if not self.challenge:
            return ""
        realm, nonce = self.challenge
        self.count += 1
        nc, cnonce = f"{self.count:08x}", "bench"
        ha1, ha2 = md5(f"{self.user}:{realm}:{self.password}"), md5(f"{method}:{uri}")
        answer = md5(f"{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")
        return (f'Authorization: Digest username="{self.user}", realm="{realm}", nonce="{nonce}", '
                f'uri="{uri}", response="{answer}", algorithm=MD5, qop=auth, nc={nc}, '
                f'cnonce="{cnonce}"\r\n')

    async def request(self, method, aor, headers="", body=""):
        uri = f"sip:{aor}"
        for _ in range(2):
            answer = await self.send(method, uri, headers, body)
            if not answer.startswith("SIP/2.0 401"):
                return answer
            md5_challenge = next(c for c in re.findall(r"^WWW-Authenticate: (.*?)\r$", answer, re.M)
                                 if "SHA-256" not in c)
            self.challenge = tuple(re.search(rf'{name}="([^"]*)"', md5_challenge)[1]
                                   for name in ("realm", "nonce"))
            self.count = 0
        return answer

    async def send(self, method, uri, headers, body):
        self.cseq += 1
        call_id = str(uuid.uuid4())
        key = (call_id, f"{self.cseq} {method}")
        text = (f"{method} {uri} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{call_id}\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:{self.aor}>;tag={call_id[:8]}\r\nTo: <{uri}>\r\n"
                f"Call-ID: {call_id}\r\nCSeq: {key[1]}\r\n"
                f"Contact: <sip:{self.user}@127.0.0.1:{self.port}>\r\n"
                f"{self.authorization(method, uri)}{headers}"
                f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
        answer = self.waiting[key] = asyncio.get_running_loop().create_future()
        for wait in (0.5, 1, 2, 4, 4):
            self.transport.sendto(text, (self.address, 5060))
            try:
                return await asyncio.wait_for(asyncio.shield(answer), wait)
            except asyncio.TimeoutError:
                pass
        raise TimeoutError(f"{self.user}: no answer to {method}")

    async def publish(self, basic):
        match = f"SIP-If-Match: {self.etag}\r\n" if self.etag else ""
        answer = await self.request(
            "PUBLISH", self.aor, f"Event: presence\r\nExpires: 3600\r\n{match}"
            "Content-Type: application/pidf+xml\r\n", PIDF.format(aor=self.aor, basic=basic))
        if not answer.startswith("SIP/2.0 200"):
            raise ConnectionError(f"{self.user}: PUBLISH: {answer.splitlines()[0]}")
        self.etag = header(answer, "SIP-ETag")

    async def subscribe(self, aor):
        answer = await self.request("SUBSCRIBE", aor, "Event: presence\r\nExpires: 3600\r\n"
                                    "Accept: application/pidf+xml\r\n")
        if not answer.startswith("SIP/2.0 2"):
            raise ConnectionError(f"{self.user}: SUBSCRIBE: {answer.splitlines()[0]}")

    async def until(self, condition, limit=60):
        async def wait():
            while not condition():
                self.news.clear()
                await self.news.wait()
        await asyncio.wait_for(wait(), limit)

    def close(self):
        self.transport.close()


def header(text, name):
    found = re.search(rf"^{name}: *(.*?)\r$", text, re.M | re.I)
    return found[1] if found else None
