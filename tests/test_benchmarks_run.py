"""Each benchmark runs and gives sane figures; how fast anything is, is not tested here."""

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import pytest

pytest.importorskip("ahocorasick_rs")
pytest.importorskip("fastapi")
pytest.importorskip("uvloop")

from benchmarks import __main__ as program
from benchmarks.measure import Bound, Effort, Row, Timing, faster, interleaved, percent_added, ratio
from benchmarks.report import TITLES, as_markdown
from benchmarks.visitors import MIX, token_forms, unique

pytestmark = pytest.mark.serial

TINY = Effort(rounds=2, share=0.002)

PEERS_FILES = {
    "nginx-block-ai-bots.conf": 'if ($http_user_agent ~* "(CCBot|GPTBot)") { return 403; }\n',
    ".htaccess": "RewriteEngine On\nRewriteCond %{HTTP_USER_AGENT} (CCBot|GPTBot) [NC]\nRewriteRule .* - [F]\n",
    "Caddyfile": '@aibots {\n\theader_regexp User-Agent "(CCBot|GPTBot)"\n}',
    "haproxy-block-ai-bots.txt": "CCBot\nGPTBot",
    "lighttpd-block-ai-bots.conf": '$HTTP["user-agent"] =~ "(CCBot|GPTBot)" { url.access-deny = ( "" ) }\n',
}
"""In the form of the peer's own files, which this project does not carry."""


@pytest.mark.parametrize("name", program.BENCHMARKS)
def test_a_benchmark_gives_finite_figures_with_their_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file, text in PEERS_FILES.items():
        (tmp_path / file).write_text(text)
    monkeypatch.setenv("AI_ROBOTS_TXT", str(tmp_path))
    rows = list(program.BENCHMARKS[name](TINY))
    assert rows
    assert len({(row.what, row.baseline) for row in rows}) == len(rows)
    for row in rows:
        assert isfinite(row.figure), row
        assert isfinite(row.ours), row
        assert (row.met is None) == (row.bound is None)


def test_every_benchmark_has_a_section_on_the_page() -> None:
    page = as_markdown(dict.fromkeys(program.BENCHMARKS, ()), "a day", quick=True)
    assert page.count("\n## ") == len(program.BENCHMARKS) == len(TITLES)


def test_a_ratio_compares_turn_by_turn_and_by_cpu_time() -> None:
    ours, base = Timing((2.0, 6.0, 4.0), (9.0, 9.0, 9.0)), Timing((1.0, 2.0, 4.0), (3.0, 3.0, 3.0))
    row = ratio("a", ours, base, "b", 2.5)
    assert (row.figure, row.best, row.wall, row.met) == (2.0, 2.0, 3.0, True)
    assert percent_added("a", ours, base, "b", 99).met is False
    assert faster("a", ours, base, "b", 0.5).met is True


def test_contenders_take_turns() -> None:
    turns = []

    def batch(name: str) -> int:
        turns.append(name)
        return 1

    interleaved({"a": lambda: batch("a"), "b": lambda: batch("b")}, 2)
    assert turns == ["a", "b", "a", "b", "b", "a"]


def test_unique_user_agents_are_unique_and_the_same_in_every_run() -> None:
    for words in (False, True):
        made = unique(MIX, 500, words=words)
        assert len(set(made)) == 500
        assert made == unique(MIX, 500, words=words)


def test_invented_tokens_fill_the_catalogue_up() -> None:
    forms = token_forms(10_000)
    assert len({form.lower() for form in forms}) >= 9_990
    assert len(forms) == 10_000


def test_the_program_writes_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def seen(effort: Effort) -> Iterator[Row]:
        yield Row("quick thing", "a dict", 1, 3, "ns", 3.0, "x", bound=Bound(2))

    monkeypatch.setitem(program.BENCHMARKS, "seen", seen)
    assert program.main(["--only", "seen", "--quick", "--write", str(tmp_path / "table.md")]) == 0
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| quick thing | a dict | 1 ns | 3 ns | 3 x |  |  |  | <= 2 | **no** |" in table
    assert "1 bounds missed\n  quick thing" in capsys.readouterr().out
