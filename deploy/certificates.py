# SPDX-License-Identifier: Apache-2.0
"""A private certificate authority for a group on one machine, made with openssl."""
import os
import secrets
import subprocess

DAYS = "825"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
TICKET_KEY_BYTES = 48


def openssl(*words):
    subprocess.run(("openssl",) + words, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, text=True)


def make_authority(directory):
    """ca.crt and ca.key in DIRECTORY, and the key that all nodes encrypt TLS tickets with."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    openssl("req", "-x509", *CURVE, "-days", DAYS, "-subj", "/CN=Muster quickgroup CA",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.crt")
    write_private(f"{directory}/ticket.key", secrets.token_bytes(TICKET_KEY_BYTES))


def make_node(authority, directory, domain, name, address):
    """node.crt and node.key in DIRECTORY for a node, for both ends of a TLS connection, beside
    copies of what the nodes share."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    request, extensions = f"{directory}/node.csr", f"{directory}/node.ext"
    with open(extensions, "w") as file:
        file.write(f"subjectAltName=DNS:{domain},DNS:{name}.{domain},DNS:{name},IP:{address}\n"
                   "basicConstraints=critical,CA:FALSE\n"
                   "keyUsage=critical,digitalSignature\n"
                   "extendedKeyUsage=serverAuth,clientAuth\n")
    openssl("req", *CURVE, "-subj", f"/CN={name}.{domain}",
            "-keyout", f"{directory}/node.key", "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", f"{authority}/ca.crt",
            "-CAkey", f"{authority}/ca.key", "-CAcreateserial", "-days", DAYS,
            "-extfile", extensions, "-out", f"{directory}/node.crt")
    os.remove(request)
    os.remove(extensions)
    os.chmod(f"{directory}/node.key", 0o600)
    for shared in "ca.crt", "ticket.key":
        with open(f"{authority}/{shared}", "rb") as file:
            write_private(f"{directory}/{shared}", file.read())


def write_private(path, content):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
