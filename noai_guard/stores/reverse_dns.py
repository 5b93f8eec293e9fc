"""Names of addresses, asked of the DNS. Needs `pip install 'noai-guard[identity]'`."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from ipaddress import ip_network
from time import monotonic
from typing import Any

from noai_guard.core.bounded_cache import ExpiringCache
from noai_guard.core.identity.reverse_dns import HostName, confirmed_name
from noai_guard.core.questions import Question
from noai_guard.errors import MissingExtra, Unanswered

ANSWERED_SECONDS = 3600
FAILED_SECONDS = 30
"""Seconds before the DNS is asked again what it did not answer."""
MAX_REMEMBERED = 16_384

LOOKUP_SECONDS = 2.0
"""Seconds for all records of one question. No request waits so long: what comes late is remembered for the next."""

THREADS = 8
MAX_PENDING = 64
"""Questions under way at once; of more, each is unanswered at once."""

PER_BLOCK = 16
BLOCK_SECONDS = 60
MAX_BLOCKS = 4096
"""Questions from one block (IPv4 /24, IPv6 /48: what one customer of a hoster gets) in a minute, and blocks counted."""

Resolve = Callable[[str, str, float], Sequence[str]]
"""Takes a name, a type of record and seconds; returns the values, none if there are none. Raises Unanswered."""


class ReverseDns:
    """Answers `HostName` within `deadline` seconds, also in several threads.

    One look-up serves all who ask the same question while it is under way. `nameservers` are addresses of recursive
    resolvers that listen on `port`; those of the machine (/etc/resolv.conf) if None.
    """

    def __init__(self, deadline: float = 0.5, nameservers: Sequence[str] | None = None, port: int = 53) -> None:
        self._deadline = deadline
        self._nameservers = nameservers
        self._port = port
        self._answers: ExpiringCache[HostName, str] = ExpiringCache(ANSWERED_SECONDS, MAX_REMEMBERED)
        self._failures: ExpiringCache[HostName, str] = ExpiringCache(FAILED_SECONDS, MAX_REMEMBERED)
        self._pending: dict[HostName, Future[str]] = {}
        self._lock = threading.Lock()
        self._per_block: dict[str, int] = {}
        self._minute = 0

    def answer(self, question: Question[Any]) -> str:
        """Return the name, "" if there is none; raise Unanswered or TimeoutError if the DNS does not say."""
        return self.ask(question).result(self._deadline)

    def ask(self, question: Question[Any]) -> Future[str]:
        """Return the answer that is known, or that will be. Raises Unanswered if nobody is asked."""
        if not isinstance(question, HostName):
            raise Unanswered(f"the DNS does not answer {type(question).__name__}")
        now = monotonic()
        with self._lock:
            known = self._answers.get(question, now)
            if known is not None:
                future: Future[str] = Future()
                future.set_result(known)
                return future
            if failure := self._failures.get(question, now):
                raise Unanswered(f"{failure} (less than {FAILED_SECONDS} s ago)")
            pending = self._pending.get(question)
            if pending is None:
                self._admit(question.address, now)
                pending = self._pending[question] = self._threads.submit(self._look_up, question)
            return pending

    def _admit(self, address: str, now: float) -> None:
        """Count a question; raise Unanswered if too many are under way, or too many came from its block."""
        if len(self._pending) >= MAX_PENDING:
            raise Unanswered(f"{MAX_PENDING} look-ups are under way")
        minute = int(now // BLOCK_SECONDS)
        if minute != self._minute or len(self._per_block) >= MAX_BLOCKS:
            self._minute = minute
            self._per_block.clear()
        block = str(ip_network(f"{address}/{48 if ':' in address else 24}", strict=False))
        count = self._per_block.get(block, 0)
        if count >= PER_BLOCK:
            raise Unanswered(f"{PER_BLOCK} look-ups in {BLOCK_SECONDS} s are enough for {block}")
        self._per_block[block] = count + 1

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(THREADS, "noai-guard-dns")

    @cached_property
    def _resolve(self) -> Resolve:
        return resolver(self._nameservers, self._port)

    def _look_up(self, question: HostName) -> str:
        try:
            name = self._name(question)
        except Exception as error:
            with self._lock:
                self._pending.pop(question, None)
                if not isinstance(error, MissingExtra):
                    self._failures.put(question, str(error), monotonic())
            raise
        with self._lock:
            self._pending.pop(question, None)
            self._answers.put(question, name, monotonic())
        return name

    def _name(self, question: HostName) -> str:
        ends = monotonic() + LOOKUP_SECONDS
        records = confirmed_name(question)
        try:
            name, kind = next(records)
            while True:
                name, kind = records.send(self._resolve(name, kind, ends - monotonic()))
        except StopIteration as done:
            return str(done.value)

    def close(self) -> None:
        """Start no more look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class AwaitedReverseDns:
    """A ReverseDns whose answers are awaited."""

    def __init__(self, names: ReverseDns) -> None:
        self._names = names

    async def answer(self, question: Question[Any]) -> str:
        """Return the name, "" if there is none; raise Unanswered if the DNS does not say."""
        # Shielded: others may wait for the same look-up.
        return await asyncio.shield(asyncio.wrap_future(self._names.ask(question)))


def is_installed() -> bool:
    """Return True if names can be asked for here."""
    try:
        import dns.resolver  # noqa: F401
    except ImportError:
        return False
    return True


def resolver(nameservers: Sequence[str] | None, port: int) -> Resolve:
    """Return a function that asks the DNS. Raises MissingExtra, or Unanswered if the machine names no resolver."""
    try:
        import dns.exception
        import dns.resolver
    except ImportError:
        raise MissingExtra("identity", "reverse DNS") from None
    try:
        asking = dns.resolver.Resolver(configure=nameservers is None)
    except dns.exception.DNSException as error:
        raise Unanswered(f"no resolver: {error}") from error
    if nameservers is not None:
        asking.nameservers = list(nameservers)
        asking.port = port

    def resolve(name: str, kind: str, seconds: float) -> Sequence[str]:
        if seconds <= 0:
            raise Unanswered(f"the DNS took more than {LOOKUP_SECONDS:g} s")
        try:
            answer = asking.resolve(name, kind, lifetime=seconds, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return ()
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        return [record.to_text() for record in answer.rrset or ()]

    return resolve
