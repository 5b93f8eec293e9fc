"""A log with fields in an order of its own, or under keys of its own, comes to what the judge says of each request."""

import json
from pathlib import Path

import pytest

from noai_guard.replay.formats import found_format
from noai_guard.replay.judge import NOT_LOGGED
from noai_guard.replay.log_format import FIELDS
from noai_guard.replay.run import Replay
from noai_guard.replay.sources import Source
from noai_guard.replay.summary import Summary
from tests.replay.lines import combined
from tests.replay.requests import BROWSER, GPTBOT, REQUESTS, Sent, compiled, counted, judged

NOW = 1_795_000_000.0
AT = 1_791_640_536.0

REMOTE = "203.0.113.7"
TIME = "[10/Oct/2026:13:55:36 +0000]"

ORDERS = {
    "the host in front": 'music.example {address} - - {time} "{request}" 200 2326 "{referer}" "{agent}"',
    "a proxy's list in front": '{address}, 10.0.0.9 - - {time} "{request}" 200 2326 "{referer}" "{agent}"',
    "X-Forwarded-For quoted in front": '"{address}" 10.0.0.9 - - {time} "{request}" 200 2326 "{referer}" "{agent}"',
    "the proxy first": '10.0.0.9 {address} - {time} "{request}" 200 2326 "{referer}" "{agent}"',
    "the host behind the time": '{address} - - {time} music.example "{request}" 200 2326 "{referer}" "{agent}"',
    "a proxy in front and X-Forwarded-For behind":
        '10.0.0.9 - - {time} "{request}" 200 2326 "{referer}" "{agent}" "{address}, 10.0.0.8"',
    "seconds in between": '{address} - - {time} "{request}" 200 2326 0.012 "{referer}" "{agent}"',
    "user agent before referer": '{time} {address} "{request}" 200 2326 "{agent}" "{referer}" 0.012',
    "labels": 'time="10/Oct/2026:13:55:36 +0000" ip={address} req="{request}" status=200 sent=2326 from="{referer}" ua="{agent}"',
    "syslog": '<190>Oct  6 13:55:36 web1 nginx: {address} - - {time} "{request}" 200 2326 "{referer}" "{agent}"',
    "docker compose": 'web-1  | {address} - - {time} "{request}" 200 2326 "{referer}" "{agent}"',
    "Kubernetes": '2026-10-10T13:55:36Z stdout F {address} - - {time} "{request}" 200 2326 "{referer}" "{agent}"',
    "ports": '{address}:4711 - - {time} "{request}" 200 2326 "{referer}" "{agent}"',
}  # fmt: skip

KEYS = {
    "nginx": {"time_local": TIME[1:-1], "remote_addr": REMOTE, "request": "{request}", "status": "200",
              "body_bytes_sent": "2326", "http_referer": "{referer}", "http_user_agent": "{agent}"},
    "nginx with the decoded path": {"time_iso8601": "2026-10-10T13:55:36+00:00", "client": "web", "remote_addr": "10.0.0.9",
                                    "http_x_forwarded_for": f"{REMOTE}, 10.0.0.9", "uri": "/index.php",
                                    "request": "{request}", "status": 200, "bytes_sent": 2326,
                                    "http_user_agent": "{agent}"},
    "nested": {"@timestamp": "2026-10-10T13:55:36Z", "client": {"ip": REMOTE}, "http": {"request": {"method": "{method}"},
               "response": {"status_code": 200, "size": 2326}}, "url": {"path": "{target}"},
               "headers": {"User-Agent": ["{agent}"]}},
    "CloudFront": {"date": "2026-10-10", "time": "13:55:36", "c-ip": REMOTE, "cs-method": "{method}",
                   "cs-uri-stem": "{target}", "sc-status": "200", "sc-bytes": "2326", "cs(User-Agent)": "{percent}"},
}  # fmt: skip

PLAIN = [sent for sent in REQUESTS if b'"' not in (sent.user_agent or b"") and b"?" not in sent.target]


def replayed(tmp_path: Path, text: str) -> Replay:
    file = tmp_path / "access.log"
    file.write_text(text, "utf-8")
    replay = Replay([compiled()], ["noai.yaml"], NOW)
    replay.read(Source(str(file)))
    return replay


def summary_of(tmp_path: Path, text: str) -> Summary:
    return replayed(tmp_path, text).summary()


def written(order: str, sent: Sent) -> str:
    """Return the line of a request, in an order."""
    _, request, _, referer, _, agent, _ = combined(sent).split('"')
    return order.format(address=REMOTE, time=TIME, request=request, referer=referer, agent=agent)


def as_object(keys: object, sent: Sent) -> str:
    """Return a request as a JSON object with keys of its own."""
    agent = (sent.user_agent or b"").decode()
    values = {
        "{request}": f"{sent.method.decode()} {sent.target.decode()} HTTP/1.1", "{method}": sent.method.decode(),
        "{target}": sent.target.decode(), "{agent}": agent, "{referer}": sent.referer.decode(),
        "{percent}": agent.replace("%", "%25").replace(" ", "%20"),
    }  # fmt: skip
    return json.dumps(
        json.loads(json.dumps(keys), object_pairs_hook=lambda pairs: {k: _put(v, values) for k, v in pairs})
    )


def _put(value: object, values: dict[str, str]) -> object:
    if isinstance(value, list):
        return [_put(each, values) for each in value]
    return values.get(value, value) if isinstance(value, str) else value


def check(replay: Replay) -> None:
    facts = replay.logs[0]
    assert counted(replay.tally) == judged(compiled(), PLAIN, NOW)
    assert (facts.lines, facts.bad) == (len(PLAIN), 0)
    assert facts.first == facts.last == AT
    assert sum(each.bytes for each in replay.tally.sums) == 2326 * len(PLAIN)
    clients = replay.tally.clients.table()
    assert clients is not None
    assert set(clients["client"]) == {REMOTE}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_fields_in_another_order_are_found(order: str, tmp_path: Path) -> None:
    check(replayed(tmp_path, "".join(f"{written(order, sent)}\n" for sent in PLAIN)))


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_fields_under_keys_of_the_sites_choice_are_found(keys: object, tmp_path: Path) -> None:
    check(replayed(tmp_path, "".join(f"{as_object(keys, sent)}\n" for sent in PLAIN)))


def test_the_report_says_where_address_and_user_agent_were_found(tmp_path: Path) -> None:
    line = written(ORDERS["user agent before referer"], Sent(b"/", GPTBOT, referer=b"https://music.example/"))
    assert summary_of(tmp_path, f"{line}\n").logs[0].format == (
        "an order of its own: the address is word 2, the user agent is quoted text 1 behind the request"
    )
    form = found_format([as_object(KEYS["nginx"], Sent(b"/", GPTBOT))])
    assert form is not None
    assert form.title == "JSON (client and user agent: remote_addr, http_user_agent)"


def test_an_address_from_a_list_is_said_to_be_what_the_client_may_have_written(tmp_path: Path) -> None:
    for order in ("a proxy's list in front", "X-Forwarded-For quoted in front"):
        line = written(ORDERS[order].replace('"{address}"', '"{address}, 10.0.0.8"'), Sent(b"/", GPTBOT))
        notes = summary_of(tmp_path, f"{line}\n").notes
        assert any("the client may have written itself" in note for note in notes)


def test_a_few_odd_lines_do_not_decide_which_format_a_log_has(tmp_path: Path) -> None:
    lines = [combined(Sent(b"/", GPTBOT))] * 60
    short = combined(Sent(b"/", GPTBOT)).split(' "-"')[0]
    replay = replayed(tmp_path, "\n".join([*lines, short, short]) + "\n")
    assert replay.logs[0].format.startswith("combined")
    assert (replay.logs[0].bad, sum(each.requests for each in replay.tally.sums)) == (2, 60)


def test_a_log_in_which_other_lines_have_the_user_agent_is_not_read_without_them(tmp_path: Path) -> None:
    line = combined(Sent(b"/", GPTBOT))
    replay = replayed(tmp_path, "\n".join([line, *[line.split(' "-"')[0]] * 2]) + "\n")
    assert replay.logs[0].bad == 1
    assert replay.logs[0].samples == [line]


def test_a_quote_that_was_not_escaped_leaves_the_user_agent_unknown(tmp_path: Path) -> None:
    lines = [combined(Sent(b"/", BROWSER))] * 5
    bare = combined(Sent(b"/", b"NAME")).replace("NAME", 'a "quoted" GPTBot/1.3')
    assert replayed(tmp_path, "\n".join([*lines, bare]) + "\n").logs[0].bad == 1


def test_nginx_without_json_escapes_is_read_too() -> None:
    line = as_object(KEYS["nginx"], Sent(b"/", GPTBOT)).replace("Mozilla", r"a \x22quoted\x22")
    form = found_format([line])
    assert form is not None
    row = form.read(line)
    assert row is not None
    assert (row[FIELDS.index("user_agent")] or "").startswith('a "quoted"/5.0')


@pytest.mark.parametrize("prefix", ["Oct 10 13:55:36 web1 caddy[812]: ", "2026/10/10 13:55:36.000\tinfo\taccess\t"])
def test_an_object_behind_the_prefix_of_a_log_daemon_is_read(prefix: str, tmp_path: Path) -> None:
    from tests.replay.lines import DOCUMENTED

    text = f"{prefix}{DOCUMENTED['caddy']}\n{prefix}{{}}\n"
    assert [(log.lines, log.bad) for log in summary_of(tmp_path, text).logs] == [(1, 0)]


def test_a_log_without_a_place_for_user_agents_is_not_judged(tmp_path: Path) -> None:
    text = 'INFO:     203.0.113.7:52114 - "GET /tracks/night HTTP/1.1" 200 OK\n'
    replay = replayed(tmp_path, text)
    assert [outcome[0].rule for outcome in replay.tally.outcomes] == [NOT_LOGGED]
