"""The hosts' own code reads our files as host_readers.py does. Installs packages of npm, so only with NOAI_FULL=1."""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog
from noai_guard.core.model import Action, PathPolicy, Usage
from tests.servers import free_port, require_program
from tests.targets.static_hosts.host_readers import READERS
from tests.targets.static_hosts.test_static_hosts import (
    OPEN,
    OWN_HEADERS,
    OWN_VERCEL,
    SENT_PLAIN,
    STANCE,
    declared,
    rendered,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("NOAI_FULL") != "1", reason="takes minutes; NOAI_FULL=1 runs it"),
]
PACKAGES = (
    *("@netlify/headers-parser@9", "@vercel/routing-utils@6"),
    *("wrangler@4.86.0", "@cloudflare/workerd-linux-64"),
)
FRONT = CompiledPolicy(
    replace(STANCE, path_policies=(
        PathPolicy("/press/**", OPEN),
        PathPolicy("/press/internal/**", STANCE.usages),
        PathPolicy("/**/*.flac", {**STANCE.usages, Usage.AI_INPUT: Action.ALLOW}),
        PathPolicy("/tracks/*/stems/**", OPEN),
        PathPolicy("/künstler/a (1)", OPEN),
    )),
    load_catalog(),
)  # fmt: skip
PATHS = ("/", "/press", "/press/", "/press/a", "/press/a/b", "/pressroom", "/press/internal", "/press/internal/x/y",
         "/a/b.flac", "/b.flac", "/tracks/x/stems", "/tracks/x/stems/1/2.mp3", "/tracks/x/y.mp3", "/künstler/a (1)")  # fmt: skip
NAMES = ("x-robots-tag", "content-usage", "tdm-reservation", "tdm-policy", "link")


def sent_as(path: str) -> str:
    return quote(path, safe=SENT_PLAIN)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text("{}")
    subprocess.run([require_program("npm"), "install", "--no-audit", "--no-fund", *PACKAGES], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("own", [False, True], ids=["ours alone", "with the site's own"])
def test_netlify_and_vercel_read_what_the_readers_here_read(packages, tmp_path, own):
    headers = rendered("netlify", FRONT, OWN_HEADERS.encode() if own else b"")
    vercel = rendered("vercel", FRONT, json.dumps(OWN_VERCEL).encode() if own else b"")
    (tmp_path / "_headers").write_text(headers)
    (tmp_path / "vercel.json").write_text(vercel)
    paths = [sent_as(path) for path in (*PATHS, *FRONT.documents)]
    command = ["node", Path(__file__).with_name("read_hosts_files.mjs"), packages, tmp_path / "_headers"]
    done = subprocess.run([*command, tmp_path / "vercel.json", *paths], capture_output=True, check=True)
    found = json.loads(done.stdout)
    assert found["problems"] == []
    for host, text in (("netlify", headers), ("vercel", vercel)):
        for path in paths:
            theirs = {name.lower(): value for name, value in found[host][path].items()}
            assert theirs == READERS[host](text, path), (host, path)


def test_cloudflare_pages_sends_what_the_policy_says(packages, tmp_path):
    site = tmp_path / "site"
    for path, content in {
        **{path: b"x" for path in PATHS if not any(other.startswith(f"{path.rstrip('/')}/") for other in PATHS)},
        **{path: document.body for path, document in FRONT.documents.items()},
        "/_headers": rendered("cloudflare-pages", FRONT).encode(),
    }.items():
        file = site / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    port = free_port()
    command = ["node_modules/.bin/wrangler", "pages", "dev", site, f"--port={port}", "--ip=127.0.0.1"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--compatibility-date=2026-05-01"], cwd=packages, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for path in (*PATHS, *FRONT.documents):
            fields = answer(port, sent_as(path))
            if path in FRONT.documents:
                assert fields["content-type"] == FRONT.documents[path].media_type
            else:
                wanted = declared(FRONT, path) or {"x-robots-tag": "all", "tdm-reservation": "0"}
                assert {name: fields.get(name) for name in NAMES if name in wanted} == wanted, path
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        shutil.rmtree(site)


def answer(port: int, path: str) -> dict[str, str]:
    """The header fields of a response, redirects to a tidier path included; waits for the server to be up."""
    deadline = time.monotonic() + 60
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", path)
            return {name.lower(): value for name, value in connection.getresponse().getheaders()}
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        finally:
            connection.close()
