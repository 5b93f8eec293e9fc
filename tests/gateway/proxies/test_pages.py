"""The configurations in docs/gateway are those that `noai-guard snippet` makes. To update: `python -m tests.gateway.proxies.test_pages`."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import Address, GatewaySetup, Snippet
from tests.gateway.proxies import rig
from tests.servers import free_port

PAGES = Path(__file__).resolve().parents[3] / "docs" / "gateway"
HOW_TO = PAGES.parent / "how-to" / "gateway.md"
MARK = re.compile(r"(<!-- snippet (\S+) (\S+) -->\n)(?:```\w*\n.*?^```\n)?", re.DOTALL | re.MULTILINE)


def current(text: str) -> str:
    """A page with every configuration as it is made now, for the policy that the how-to shows."""
    said = re.search(r"```yaml\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    assert said

    def block(match: re.Match[str]) -> str:
        (snippet,) = (found for found in made(match[2], said[1]) if found.file == match[3])
        return f"{match[1]}```{PROXIES[match[2]].language}\n{snippet.text}```\n"

    return MARK.sub(block, text)


def made(key: str, text: str) -> Sequence[Snippet]:
    """All of a proxy's configuration. lighttpd can only refuse while nobody answers, so the policy has to say so."""
    policy, _ = check_policy_text((text + "\non_unknown: deny\n" * (key == "lighttpd")).encode())
    assert policy
    proxy = PROXIES[key]
    gateway, site = Address.parse("127.0.0.1:9797"), Address.parse("127.0.0.1:8080")
    return proxy.render(GatewaySetup(CompiledPolicy(policy, load_catalog()), gateway, proxy.root, site))


@pytest.mark.parametrize("key", PROXIES)
def test_each_proxy_has_a_page_that_shows_all_of_its_configuration(key):
    text = (PAGES / f"{key}.md").read_text(encoding="utf-8")
    assert current(text) == text
    assert f"../gateway/{key}.md" in HOW_TO.read_text(encoding="utf-8")
    shown = {match[3] for match in MARK.finditer(text)}
    assert shown == {snippet.file for snippet in made(key, "mode: enforce\n")}


def test_the_how_to_works_as_it_is_written(tmp_path):
    text = HOW_TO.read_text(encoding="utf-8")
    (tmp_path / "noai.yaml").write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /private\n")
    command = re.findall(r"^noai-guard (serve .*--own-robots) \S+$", text, re.MULTILINE)[0].split()
    port = free_port()
    started = [sys.executable, "-m", "noai_guard", *command, "robots.txt", "--listen", f"127.0.0.1:{port}"]
    gateway = rig.started(started, port, tmp_path)
    try:
        assert rig.fetch(port, "/.noai/ready").status == 200
        assert b"Disallow: /private" in rig.fetch(port, "/robots.txt").body
        said = [("X-Original-URI", "/")]
        assert rig.fetch(port, "/.noai/verify", rig.SCRAPER, said).status == 403
        assert rig.fetch(port, "/.noai/verify", rig.BROWSER, said).status == 200
    finally:
        gateway.stop()


if __name__ == "__main__":
    for page in PAGES.glob("*.md"):
        page.write_text(current(page.read_text(encoding="utf-8")), encoding="utf-8")
