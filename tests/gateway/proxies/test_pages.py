"""The pages in docs/servers show the configuration that `noai-guard config SERVER --ask-gateway` makes.

To update them: `python -m tests.gateway.proxies.test_pages`.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.gateway.proxies import PROXIES
from noai_guard.gateway.proxies.proxy import GatewaySetup
from noai_guard.socket_address import SocketAddress
from noai_guard.targets.target import File
from tests.gateway.proxies import running_proxies
from tests.servers import free_port

DOCS = Path(__file__).resolve().parents[3] / "docs"
HOW_TO = DOCS / "how-to" / "gateway.md"
MARK = re.compile(r"(<!-- config (\S+) (\S+) -->\n)(?:```\w*\n.*?^```\n)?", re.DOTALL | re.MULTILINE)
LANGUAGES = {".lua": "lua", ".yaml": "yml", ".yml": "yml", ".vcl": "vcl", ".caddy": "caddyfile"}


def page(key: str) -> Path:
    return DOCS / "servers" / f"{key}.md"


def with_current_files(text: str) -> str:
    """A page with every file as it is made now, for the policy that the how-to shows."""
    policy = re.search(r"```yaml\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    assert policy

    def block(match: re.Match[str]) -> str:
        (file,) = (file for file in generated(match[2], policy[1]) if file.path == match[3])
        language = LANGUAGES.get(Path(file.path).suffix, match[2])
        return f"{match[1]}```{language}\n{file.content.decode()}```\n"

    return MARK.sub(block, text)


def generated(key: str, text: str) -> Sequence[File]:
    policy, _ = check_policy_text(text.encode())
    assert policy
    gateway, site = SocketAddress.parse("127.0.0.1:9797"), SocketAddress.parse("127.0.0.1:8080")
    return PROXIES[key].render(GatewaySetup(CompiledPolicy(policy, load_catalog()), gateway, site), PROXIES[key].root)


@pytest.mark.parametrize("key", PROXIES)
def test_each_proxy_has_a_page_that_shows_all_of_its_configuration(key: str) -> None:
    text = page(key).read_text(encoding="utf-8")
    assert with_current_files(text) == text
    assert f"noai-guard config {key} --ask-gateway" in text
    shown = {file.path for file in generated(key, "mode: enforce\n") if "documents" not in file.path}
    assert f"../servers/{key}.md" in HOW_TO.read_text(encoding="utf-8")
    assert {match[3] for match in MARK.finditer(text)} == shown


def test_the_how_to_works_as_it_is_written(tmp_path: Path) -> None:
    text = HOW_TO.read_text(encoding="utf-8")
    (tmp_path / "noai.yaml").write_text(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    (tmp_path / "robots.txt").write_text("User-agent: *\nDisallow: /private\n")
    command = re.findall(r"^noai-guard (serve .*--own-robots) \S+$", text, re.MULTILINE)[0].split()
    port = free_port()
    started = [sys.executable, "-m", "noai_guard", *command, "robots.txt", "--listen", f"127.0.0.1:{port}"]
    gateway = running_proxies.start_process(started, port, tmp_path)
    try:
        assert running_proxies.fetch(port, "/.noai/ready").status == 200
        assert b"Disallow: /private" in running_proxies.fetch(port, "/robots.txt").body
        original = [("X-Original-URI", "/")]
        assert running_proxies.fetch(port, "/.noai/verify", running_proxies.SCRAPER, original).status == 403
        assert running_proxies.fetch(port, "/.noai/verify", running_proxies.BROWSER, original).status == 200
    finally:
        gateway.stop()


if __name__ == "__main__":
    for proxy in PROXIES:
        page(proxy).write_text(with_current_files(page(proxy).read_text(encoding="utf-8")), encoding="utf-8")
