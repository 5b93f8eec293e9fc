"""Each server has a page, and the table of what each can do is the code's own."""

import re
from pathlib import Path

import pytest

from noai_guard.targets import TARGETS
from noai_guard.targets.target import Feature

DOCS = Path(__file__).resolve().parents[2] / "docs" / "servers"
PROOFS = {"server": "the server", "schema": "schema only", "unchecked": "unchecked"}


def table() -> str:
    lines = ["| server | proven by | cannot |", "|---|---|---|"]
    for key, target in TARGETS.items():
        missing = "; ".join(str(feature) for feature in Feature if feature not in target.supports) or "-"
        lines.append(f"| [{target.title}]({page(key)}) | {PROOFS[target.proof]} | {missing} |")
    return "\n".join(lines)


def page(key: str) -> str:
    return {"htaccess": "apache.md"}.get(key, f"{key}.md")


def test_the_table_of_servers_is_current() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- features -->\n(.*?)\n<!-- /features -->", text, re.DOTALL)
    assert shown is not None
    assert shown[1] == table()


@pytest.mark.parametrize("key", TARGETS)
def test_each_server_has_a_page_that_shows_its_command(key: str) -> None:
    assert f"noai-guard config {key} --out" in (DOCS / page(key)).read_text(encoding="utf-8")
