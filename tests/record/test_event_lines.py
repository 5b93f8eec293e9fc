import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noai_guard import load_catalog, load_stance
from noai_guard.core.client_address import ClientAddress
from noai_guard.core.guard import Guard
from noai_guard.core.works import Works
from noai_guard.observability.events import Event, PolicyInForce
from noai_guard.record.event_lines import LineWriter, ServedBefore
from noai_guard.record.event_record import decode, encode

GUARD = Guard(load_stance(), load_catalog())
VERDICT = GUARD.judged("/a", b"GPTBot/1.2")
POLICY = PolicyInForce("sha256:abc", works=Works(["/audio/{work}.mp3"]))
_anything = st.text(st.characters(exclude_categories=()), max_size=1200)


def event(path: str = "/a", **facts) -> Event:
    given = {
        "method": "GET",
        "host": b"music.example",
        "user_agent": b"GPTBot/1.2",
        "client": ClientAddress("203.0.113.7", "socket"),
        "policy": POLICY,
    }
    return Event(1764438600.123, VERDICT, path=path, **{**given, **facts})


@given(_anything, st.binary(max_size=300), _anything, st.binary(max_size=700), st.none() | st.integers(0, 2**40))
def test_a_line_is_what_encoding_its_record_gives(
    method: str, host: bytes, path: str, user_agent: bytes, size: int | None
) -> None:
    line = LineWriter(None).line(event(path, method=method, host=host, user_agent=user_agent, bytes=size))
    assert line is not None
    assert encode(decode(line)) == line


def test_the_number_of_the_ledger_may_change_while_a_policy_is_in_force() -> None:
    writer, policy = LineWriter(None), PolicyInForce("sha256:abc")
    ledgers = []
    for policy.ledger in (None, 3, 4):
        line = writer.line(event(policy=policy))
        assert line is not None
        ledgers.append(json.loads(line)["ledger"])
    assert ledgers == [None, 3, 4]


def test_what_another_server_sends_with_its_response_is_not_known() -> None:
    writer = LineWriter(None)
    for status, declared in ((None, []), (None, []), (200, []), (200, ["tdm-reservation"])):
        line = writer.line(event(status=status, served=("tdm-reservation",)))
        assert line is not None
        assert json.loads(line)["declared"] == declared


def test_an_event_without_policy_has_a_line() -> None:
    line = LineWriter(None).line(event(policy=None, client=None))
    assert line is not None
    assert decode(line).policy == decode(line).client == ""


def test_what_clients_were_served_is_remembered_in_bounded_memory() -> None:
    served = ServedBefore(max_clients=3)
    for number in range(5):
        assert served.before(("GPTBot", str(number)), "/robots.txt") == ()
        served.before(("GPTBot", "0"))
    assert served.before(("GPTBot", "0")) == ("/robots.txt",)
    assert served.before(("GPTBot", "1")) == ()
    for number in range(100):
        served.before(("GPTBot", "0"), str(number))
    assert len(served.before(("GPTBot", "0"))) == 16


@pytest.mark.parametrize(
    ("told", "trusted", "address"),
    [((), False, "10.0.0.1"), (((b"x-forwarded-for", b"203.0.113.9"),), True, "203.0.113.9")],
)
def test_an_address_is_worked_out_by_the_writer(told, trusted: bool, address: str) -> None:
    from noai_guard.core.trusted_proxies import TrustedProxies

    policy = PolicyInForce(trusted=TrustedProxies.parse(["10.0.0.0/8"] if trusted else [], "x-forwarded-for")[0])
    line = LineWriter(None).line(event(client=None, peer=("10.0.0.1", 5), told=told, policy=policy))
    assert line is not None
    assert decode(line).client == address


def test_a_work_has_its_name_where_servers_do_not_tell_letter_case_apart() -> None:
    line = LineWriter(None).line(event("/AUDIO/tide.MP3"))
    assert line is not None
    assert decode(line).work == "tide"
