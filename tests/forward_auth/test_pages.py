"""The configurations in docs/gateway are those that `noai-guard snippet` makes. To update: `python -m tests.forward_auth.test_pages`."""

import re
import sys
from pathlib import Path

import pytest

from noai_guard.forward_auth import PROXIES
from noai_guard.forward_auth.snippet import Address, Wanted
from noai_guard.front import Front
from noai_guard.loading import check_policy_text, load_catalog
from tests.forward_auth import rig
from tests.servers import free_port

PAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "gateway"
HOW_TO = PAGES.parent / "how-to" / "gateway.md"
MARK = re.compile(r"(<!-- snippet (\S+) (\S+) -->\n)(?:```\w*\n.*?^```\n)?", re.DOTALL | re.MULTILINE)


def current(text: str) -> str:
    """A page with every configuration as it is made now, for the policy that the how-to shows."""
    said = re.search(r"```yaml\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    assert said
    policy, _ = check_policy_text(said[1].encode())
    assert policy
    front = Front(policy, load_catalog())

    def block(match: re.Match[str]) -> str:
        proxy = PROXIES[match[2]]
        wanted = Wanted(front, Address.parse("127.0.0.1:9797"), proxy.root, Address.parse("127.0.0.1:8080"))
        (snippet,) = (found for found in proxy.render(wanted) if found.file == match[3])
        return f"{match[1]}```{proxy.language}\n{snippet.text}```\n"

    return MARK.sub(block, text)


@pytest.mark.parametrize("key", PROXIES)
def test_each_proxy_has_a_page_that_shows_all_of_its_configuration(key):
    text = (PAGES / f"{key}.md").read_text(encoding="utf-8")
    assert current(text) == text
    assert f"../gateway/{key}.md" in HOW_TO.read_text(encoding="utf-8")
    policy, _ = check_policy_text(b"trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}")
    assert policy
    wanted = Wanted(Front(policy, load_catalog()), Address("127.0.0.1", 1), "/", Address("127.0.0.1", 2))
    shown = {match[3] for match in MARK.finditer(text)}
    assert shown == {snippet.file for snippet in PROXIES[key].render(wanted)}


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
