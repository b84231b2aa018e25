# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for the nodes of a group, so that links can be cut.

        namespace of node 1                       namespace of node 2
        lo 198.18.G.1                             lo 198.18.G.2
        peer ------------------ veth ------------------ peer
        host --- veth ---+                    +--- veth --- host
                         |   this machine     |
                         +--- 198.18.G.254 ---+

The nodes talk over `peer`, clients on this machine over `host`: cutting the one leaves the other
(`ip -n NAMESPACE link set peer down`). G and the names come from the group's directory, so that
several groups can run side by side. 198.18.0.0/15 is for tests (RFC 2544).
"""
import hashlib
import subprocess

HOST = 254


class Namespaces:
    def __init__(self, directory, nodes):
        digest = hashlib.sha256(directory.encode()).hexdigest()
        self.tag, self.group, self.nodes = digest[:6], int(digest[6:8], 16), nodes

    def name(self, node):
        return f"muster-{self.tag}-{node}"

    def host_link(self, node):
        return f"mu{self.tag}h{node}"

    def address(self, node):
        return f"198.18.{self.group}.{node}"

    def make(self):
        self.remove()
        for node in self.nodes:
            name, link = self.name(node), self.host_link(node)
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "address", "add", self.address(node) + "/32", "dev", "lo")
            ip("link", "add", link, "type", "veth", "peer", "name", "host", "netns", name)
            ip("address", "add", self.address(HOST) + "/32", "dev", link)
            ip("link", "set", link, "up")
            ip("-n", name, "link", "set", "host", "up")
            ip("route", "add", self.address(node), "dev", link, "src", self.address(HOST))
            ip("-n", name, "route", "add", self.address(HOST), "dev", "host",
               "src", self.address(node))
        self.link_nodes(*self.nodes)

    def link_nodes(self, one, other):
        ip("link", "add", "peer", "netns", self.name(one), "type", "veth",
           "peer", "name", "peer", "netns", self.name(other))
        for node, far in (one, other), (other, one):
            # An address with a peer: its route comes back when a link that was cut is mended.
            ip("-n", self.name(node), "address", "add", self.address(node), "peer",
               self.address(far) + "/32", "dev", "peer")
            ip("-n", self.name(node), "link", "set", "peer", "up")

    def remove(self):
        for node in self.nodes:
            for words in (("link", "del", self.host_link(node)), ("netns", "del", self.name(node))):
                subprocess.run(("ip",) + words, stderr=subprocess.DEVNULL, check=False)


def ip(*words):
    subprocess.run(("ip",) + words, check=True)
