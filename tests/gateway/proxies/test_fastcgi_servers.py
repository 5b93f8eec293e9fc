"""lighttpd, with our configuration, and Apache's mod_authnz_fcgi ask `noai-guard serve --fastcgi`."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from noai_guard.core.model import Action
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import Address, GatewaySetup
from tests.gateway.proxies.rig import BROWSER, LICENSED, POLICY, RATIONED, ROBOTS, SCRAPER, Edge, fetch, front, started
from tests.servers import free_port
from tests.targets.conformance import ask_all, corpus
from tests.targets.web_servers import program, readable_folder

CLOSED = POLICY + "on_unknown: deny\n"
AUDIO = bytes(range(256)) * 400
PHP = (
    "<?php header('Content-Type: application/json'); echo json_encode(['said' => $_SERVER['HTTP_X_NOAI_VERDICT'] ?? null,"
    "'verdict' => $_SERVER['X_NOAI_VERDICT'] ?? null, 'posted' => strlen(file_get_contents('php://input'))]);"
)
STATUS = {Action.DENY: 403, Action.LICENSE_REQUIRED: 402, Action.ALLOW: 200, Action.LOG: 200}


@pytest.fixture(scope="module")
def folder():
    with readable_folder() as found:
        site = found / "site"
        (site / "press").mkdir(parents=True)
        (site / "audio.mp3").write_bytes(AUDIO)
        (site / "page.html").write_text("<p>hello")
        (site / "press" / "kit.html").write_text("<p>press")
        (site / "form.php").write_text(PHP)
        (found / "noai.yaml").write_text(CLOSED)
        yield found


class AskedGateway:
    """`noai-guard serve` with a FastCGI authorizer."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.fastcgi = folder, free_port(), free_port()
        self.edge = self.start()

    def start(self) -> Edge:
        command = [sys.executable, "-m", "noai_guard", "serve", "--policy", str(self.folder / "noai.yaml")]
        command += ["--listen", f"127.0.0.1:{self.port}", "--fastcgi", f"127.0.0.1:{self.fastcgi}"]
        return started(command, self.port, self.folder)


@pytest.fixture(scope="module")
def gateway(folder):
    found = AskedGateway(folder)
    yield found
    found.edge.stop()


@pytest.fixture(scope="module")
def lighttpd(folder, gateway):
    port, php = free_port(), free_port()
    cgi = started([program("php-cgi", "php-cgi"), "-b", f"127.0.0.1:{php}"], php, folder)
    addresses = [Address("127.0.0.1", number) for number in (gateway.port, 1, gateway.fastcgi)]
    wanted = GatewaySetup(front(CLOSED), addresses[0], str(folder), addresses[1], None, addresses[2])
    (snippet,) = PROXIES["lighttpd"].render(wanted)
    (folder / "noai-guard.conf").write_text(snippet.text.replace("/var/www/html", str(folder / "site")))
    (folder / "lighttpd.conf").write_text(
        f'server.modules = ("mod_fastcgi", "mod_proxy", "mod_setenv")\nserver.bind = "127.0.0.1"\nserver.port = {port}\n'
        f'server.document-root = "{folder}/site"\nserver.errorlog = "{folder}/error.log"\n'
        'mimetype.assign = (".mp3" => "audio/mpeg", ".html" => "text/html")\n'
        f'fastcgi.server = (".php" => (("host" => "127.0.0.1", "port" => {php})))\n'
        f'include "{folder}/noai-guard.conf"\n'
    )
    edge = started([program("lighttpd"), "-D", "-f", str(folder / "lighttpd.conf")], port, folder)
    yield edge.port
    edge.stop()
    cgi.stop()


@pytest.fixture(scope="module")
def apache(folder, gateway):
    """As docs/gateway/apache.md shows it."""
    port = free_port()
    modules = Path("/usr/lib/apache2/modules")
    names = ("mpm_event", "authn_core", "authz_core", "authz_user", "authnz_fcgi", "headers")
    loaded = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in names)
    page = (Path(__file__).parents[3] / "docs" / "gateway" / "apache.md").read_text(encoding="utf-8")
    shown = page.split("## Without Lua")[1].split("```apache\n")[1].split("```")[0]
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    (folder / "apache.conf").write_text(
        f"ServerRoot {folder}\nServerName localhost\nPidFile apache.pid\nErrorLog apache.log\nMutex file:{folder}\n"
        f"{loaded}{user}Listen 127.0.0.1:{port}\nDocumentRoot {folder}/site\n"
        f"{shown.replace('127.0.0.1:9798', f'127.0.0.1:{gateway.fastcgi}')}\n"
    )
    command = [program("apache2"), "-D", "FOREGROUND", "-f", str(folder / "apache.conf")]
    edge = started(command, port, folder)
    yield edge.port
    edge.stop()


@pytest.fixture(params=["lighttpd", "apache"])
def port(request):
    return request.getfixturevalue(request.param)


def test_a_listener_plays_and_seeks_and_a_scraper_is_told_why_not(port):
    assert fetch(port, "/audio.mp3").body == AUDIO
    part = fetch(port, "/audio.mp3", headers=[("Range", "bytes=256-511")])
    assert (part.status, part.body) == (206, bytes(range(256)))
    head = fetch(port, "/audio.mp3", method="HEAD")
    assert (head.status, head.body, head.value("content-length")) == (200, b"", str(len(AUDIO)))
    refused = fetch(port, "/page.html", SCRAPER, [("Accept", "application/json")])
    assert (refused.status, json.loads(refused.body)["agent"]) == (403, "GPTBot")
    assert fetch(port, "/audio.mp3", SCRAPER, method="HEAD").status == 403


def test_licence_and_ration_reach_the_client_whole(port):
    got = fetch(port, "/page.html", LICENSED)
    assert (got.status, "https://music.example/licence" in got.value("link")) == (402, True)
    for _ in range(9):
        got = fetch(port, "/page.html", RATIONED)
        if got.status != 200:
            break
    assert got.status == 429
    assert int(got.value("retry-after")) > 0


def test_every_client_gets_the_verdict_that_the_judge_gives(port):
    guard = front(CLOSED).guard
    asks = [
        (path, user_agent)
        for user_agent in corpus()[::41]
        for path in ("/page.html", "/press/kit.html")
        if guard.judged(path, user_agent).action is not Action.THROTTLE
    ]
    wrong = [
        (path, user_agent, answer.status)
        for (path, user_agent), answer in ask_all(port, asks)
        if answer.status != STATUS[guard.judged(path, user_agent).action]
    ]
    assert not wrong


def test_lighttpd_declares_serves_documents_and_leaves_posts_to_php(lighttpd):
    got = fetch(lighttpd, "/page.html")
    assert got.value("x-robots-tag") == ROBOTS
    assert got.values("content-usage") == ["train-ai=n, ai-use=n, search=y"]
    assert not fetch(lighttpd, "/press/kit.html").values("content-usage")
    assert b"User-agent: GPTBot" in fetch(lighttpd, "/robots.txt", SCRAPER).body
    spoofed = [("X-NoAI-Verdict", "spoofed"), ("X_NoAI_Verdict", "spoofed"), ("X-NoAI_Verdict", "spoofed")]
    assert fetch(lighttpd, "/form.php", headers=spoofed).said == {"said": None, "verdict": "allow", "posted": 0}
    posted = fetch(lighttpd, "/form.php", headers=spoofed, method="POST", body=b"x" * 200_000)
    assert posted.said == {"said": None, "verdict": None, "posted": 200_000}


def test_a_gateway_that_is_gone_lets_nobody_in_until_it_is_back(gateway, port):
    assert fetch(port, "/page.html").status == 200
    gateway.edge.process.kill()
    gateway.edge.process.wait()
    until = time.monotonic() + 20
    while fetch(port, "/page.html").status == 200 and time.monotonic() < until:
        time.sleep(0.1)  # its worker ends when it notices
    for user_agent in (BROWSER, SCRAPER):
        assert fetch(port, "/page.html", user_agent).status in (403, 500, 503, 504)
    gateway.edge = gateway.start()
    while fetch(port, "/page.html").status != 200 and time.monotonic() < until:
        time.sleep(0.1)
    assert fetch(port, "/page.html").status == 200
