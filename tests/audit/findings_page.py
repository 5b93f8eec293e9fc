"""Generator of docs/reference/findings.md from the rules: python -m tests.audit.findings_page"""

from pathlib import Path
from textwrap import wrap

from noai_guard.audit.checks import RULE_GROUPS
from noai_guard.audit.finding import Rule, Severity

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "findings.md"
_WIDTH = 118
_HEAD = """# Findings

What [`noai-guard audit`](../how-to/audit.md) can find. Codes are stable: a code never changes its meaning.

- **error**: the reservation is not read or is contradicted, or people are turned away.
- **warning**: some read it otherwise, or it covers less than it seems to.
- **note**: worth knowing.

The facts behind them: RFC 9309 (robots.txt), AIPREF vocab-08 and attach-05, Cloudflare's content signals, TDMRep, RSL 1.0,
and what img2dataset, Spawning's datadiligence and Google's robots.txt parser were seen to do (2026-11). This page is
written by `python -m tests.audit.findings_page`.
"""


def page() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for group in RULE_GROUPS:
        parts.append(f"## {group.title}\n")
        parts += (_section(rule) for rule in group.rules)
    return "\n".join(parts)


def _section(rule: Rule) -> str:
    assert rule.severity in Severity
    text = "\n".join(
        wrap(f"**{rule.title}** ({rule.severity}). {_escaped(rule.explanation)}", _WIDTH, break_on_hyphens=False)
    )
    return (
        f"### {rule.code}\n\n{text}\n\n```text\n{chr(10).join(wrap(rule.fix, _WIDTH, break_on_hyphens=False))}\n```\n"
    )


def _escaped(text: str) -> str:
    """Escape what has a meaning in Markdown."""
    return text.replace("*", "\\*").replace("<", "\\<").replace("_", "\\_")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
