"""Names of addresses, asked of a real DNS server that tells the truth, is slow, is silent or lies."""

import asyncio
import gc
import threading
import time
from collections.abc import Mapping

import dns.rcode
import pytest

from noai_guard.core.identity.reverse_dns import HostName
from noai_guard.core.questions import Count
from noai_guard.errors import Unanswered
from noai_guard.stores import reverse_dns
from noai_guard.stores.reverse_dns import MAX_PENDING, PER_BLOCK, AwaitedReverseDns, ReverseDns
from tests.dns_server import Answer, DnsServer, dns_server, failing, late, records, silent

GOOGLE = (".googlebot.com", ".google.com")
NAME = "crawl-66-249-66-1.googlebot.com."
POINTER = "1.66.249.66.in-addr.arpa."
PTR, A = (POINTER, "PTR"), (NAME, "A")
TRUE: dict[tuple[str, str], Answer] = {PTR: records(f"{POINTER} PTR {NAME}"), A: records(f"{NAME} A 66.249.66.1")}
QUESTION = HostName("66.249.66.1", GOOGLE)


def names(server: DnsServer, deadline: float = 5) -> ReverseDns:
    return ReverseDns(deadline, ["127.0.0.1"], server.port)


def test_a_name_under_a_suffix_that_leads_back_is_the_answer_and_is_asked_for_once() -> None:
    with dns_server(TRUE) as server:
        asked = names(server)
        assert [asked.answer(QUESTION) for _ in range(3)] == ["crawl-66-249-66-1.googlebot.com"] * 3
    assert server.queries == {PTR: 1, A: 1}


def test_an_ipv6_address_is_confirmed_by_its_aaaa_record() -> None:
    pointer = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
    zone = {(pointer, "PTR"): records(f"{pointer} PTR {NAME}"), (NAME, "AAAA"): records(f"{NAME} AAAA 2001:db8:0::1")}
    with dns_server(zone) as server:
        assert names(server).answer(HostName("2001:db8::1", GOOGLE)) == NAME.rstrip(".")


@pytest.mark.parametrize(
    "zone",
    [
        pytest.param({}, id="no name"),
        pytest.param({PTR: records()}, id="no record"),
        pytest.param({PTR: records(f"{POINTER} PTR host.example.")}, id="another's name"),
        pytest.param({PTR: records(f"{POINTER} PTR googlebot.com.example.")}, id="suffix in the middle"),
        pytest.param({PTR: records(f"{POINTER} PTR notgooglebot.com.")}, id="suffix without its dot"),
        pytest.param({PTR: records(f"{POINTER} PTR {NAME}")}, id="a name that does not exist"),
        pytest.param({**TRUE, A: records(f"{NAME} A 66.249.66.2")}, id="leads elsewhere"),
        pytest.param({**TRUE, A: records(f"{NAME} TXT 66.249.66.1")}, id="another type"),
        pytest.param({PTR: records(*(f"{POINTER} PTR h{i}.example." for i in range(2000)))}, id="2,000 names"),
    ],
)
def test_an_address_without_a_name_that_leads_back_has_none(zone: Mapping[tuple[str, str], Answer]) -> None:
    with dns_server(zone) as server:
        assert names(server).answer(QUESTION) == ""
    assert sum(server.queries.values()) <= 4


def test_aliases_are_followed_and_a_loop_of_them_ends() -> None:
    alias = "1.0-63.66.249.66.in-addr.arpa."
    chain = {**TRUE, PTR: records(f"{POINTER} CNAME {alias}", f"{alias} PTR {NAME}")}
    with dns_server(chain) as server:
        assert names(server).answer(QUESTION) == NAME.rstrip(".")
    loop = {PTR: records(f"{POINTER} CNAME {alias}", f"{alias} CNAME {POINTER}")}
    with dns_server(loop) as server, pytest.raises(Unanswered):
        names(server).answer(QUESTION)


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_server_that_fails_leaves_the_question_unanswered_and_is_not_asked_again_at_once(
    code: dns.rcode.Rcode,
) -> None:
    with dns_server({PTR: failing(code)}) as server:
        asked = names(server)
        for _ in range(3):
            with pytest.raises(Unanswered):
                asked.answer(QUESTION)
    assert server.queries[PTR] < 6


def test_a_silent_server_holds_nobody_up_longer_than_the_deadline() -> None:
    with dns_server({PTR: silent}) as server:
        asked = names(server, deadline=0.05)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            asked.answer(QUESTION)
        assert time.monotonic() - started < reverse_dns.LOOKUP_SECONDS / 2


def test_an_answer_that_comes_late_is_there_for_the_next_request() -> None:
    with dns_server({**TRUE, PTR: late(0.3, TRUE[PTR])}) as server:
        asked = names(server, deadline=0.05)
        with pytest.raises(TimeoutError):
            asked.answer(QUESTION)
        assert asked.ask(QUESTION).result(5) == NAME.rstrip(".")
        assert asked.answer(QUESTION) == NAME.rstrip(".")
    assert server.queries == {PTR: 1, A: 1}


def test_one_look_up_serves_all_who_wait_in_threads_and_in_an_event_loop() -> None:
    with dns_server({**TRUE, PTR: late(0.2, TRUE[PTR])}) as server:
        asked = names(server)
        answers: list[str] = []
        threads = [threading.Thread(target=lambda: answers.append(asked.answer(QUESTION))) for _ in range(8)]
        for thread in threads:
            thread.start()

        async def many() -> list[str]:
            awaited = AwaitedReverseDns(asked)
            first = asyncio.create_task(awaited.answer(QUESTION))
            others = [asyncio.create_task(awaited.answer(QUESTION)) for _ in range(8)]
            await asyncio.sleep(0)
            first.cancel()  # the client hung up; the others still wait
            return await asyncio.gather(*others)

        answers += asyncio.run(many())
        for thread in threads:
            thread.join()
    assert answers == [NAME.rstrip(".")] * 16
    assert server.queries == {PTR: 1, A: 1}


def test_the_number_of_look_ups_is_bounded_for_each_block_and_altogether() -> None:
    with dns_server({}) as server:
        asked = names(server)
        answered = 0
        for host in range(60):
            try:
                asked.answer(HostName(f"203.0.113.{host}", GOOGLE))
                answered += 1
            except Unanswered as error:
                assert "are enough for 203.0.113.0/24" in str(error)  # noqa: PT017
        assert answered == PER_BLOCK
        assert asked.answer(HostName("198.51.100.1", GOOGLE)) == ""
    with dns_server({}) as server:
        server.zone = {(f"1.1.{i}.10.in-addr.arpa.", "PTR"): silent for i in range(100)}
        asked = names(server, deadline=0.01)
        outcomes = []
        for block in range(100):
            try:
                asked.ask(HostName(f"10.{block}.1.1", GOOGLE))
                outcomes.append(True)
            except Unanswered:
                outcomes.append(False)
        assert sum(outcomes) == MAX_PENDING
        asked.close()


def test_without_a_resolver_or_for_another_question_nobody_answers() -> None:
    with pytest.raises(Unanswered, match="the DNS does not answer Count"):
        ReverseDns().answer(Count("x", 1, 0.0))


def test_a_million_addresses_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in entries, with small limits: a million look-ups would take a minute."""
    monkeypatch.setattr(reverse_dns, "MAX_REMEMBERED", 100)
    monkeypatch.setattr(reverse_dns, "MAX_BLOCKS", 50)
    with dns_server({}) as server:
        asked = names(server)
        for number in range(1000):
            asked.answer(HostName(f"198.{number // 250}.{number % 250}.1", GOOGLE))
        gc.collect()
        assert len(asked._answers) <= 100
        assert len(asked._per_block) <= 50
        assert not asked._pending
