"""A DNS server on loopback that answers as it is told: truly, late, never, or with lies."""

import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Answer = Callable[[dns.message.Message], dns.message.Message | None]
"""Takes a query; returns the response, or None for none."""


def records(*lines: str) -> Answer:
    """Return an answer of records, each `name type value`."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        for line in lines:
            name, kind, value = line.split(" ", 2)
            rdata = dns.rrset.from_text(name, 60, "IN", kind, value)
            response.answer.append(rdata)
        return response

    return answer


def failing(code: dns.rcode.Rcode) -> Answer:
    def answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(code)
        return response

    return answer


def late(seconds: float, answer: Answer) -> Answer:
    def answered(query: dns.message.Message) -> dns.message.Message | None:
        time.sleep(seconds)
        return answer(query)

    return answered


def silent(query: dns.message.Message) -> None:
    return None


class DnsServer:
    """The queries that came, by (name, type), and the port."""

    def __init__(self, zone: Mapping[tuple[str, str], Answer]) -> None:
        self.zone = zone
        self.queries: Counter[tuple[str, str]] = Counter()
        self.port = 0

    def respond(self, wire: bytes, over_tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        key = (question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype))
        self.queries[key] += 1
        response = self.zone.get(key, failing(dns.rcode.NXDOMAIN))(query)
        if response is None:
            return None
        try:
            return response.to_wire(max_size=65535 if over_tcp else 512)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()


@contextmanager
def dns_server(zone: Mapping[tuple[str, str], Answer]) -> Iterator[DnsServer]:
    """Run a server that knows `(name, type)` pairs, names absolute, and says NXDOMAIN for others."""
    server = DnsServer(zone)

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, socket = self.request
            response = server.respond(wire, over_tcp=False)
            if response is not None:
                socket.sendto(response, self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            length = int.from_bytes(self.rfile.read(2), "big")
            response = server.respond(self.rfile.read(length), over_tcp=True)
            if response is not None:
                self.wfile.write(len(response).to_bytes(2, "big") + response)

    class UdpServer(socketserver.ThreadingUDPServer):
        daemon_threads = True

    class TcpServer(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    def both() -> tuple[UdpServer, TcpServer]:
        for _ in range(50):  # until a port is free for both
            udp = UdpServer(("127.0.0.1", 0), Udp)
            try:
                return udp, TcpServer(udp.server_address, Tcp)
            except OSError:
                udp.server_close()
        raise OSError("no port is free for UDP and TCP")

    udp, tcp = both()
    with udp, tcp:
        server.port = udp.server_address[1]
        for listening in (udp, tcp):
            threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            udp.shutdown()
            tcp.shutdown()
