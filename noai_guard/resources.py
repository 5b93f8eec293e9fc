"""Text files of the package: Lua, configuration templates, pages and styles, where editors and linters read them.

A placeholder is a name in capitals between double underscores, `__POLICY_PAGE__`: an identifier in most languages, so
that a template is still valid in its own.

Files for operators (a systemd unit, alert rules, dashboards ...) stand where the repository uses them. hatch_build.py
puts them into the wheel, as `noai_guard/for_operators/`.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

_PLACEHOLDER = re.compile(r"(?P<indent>^[ \t]*)?__(?P<name>[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)__(?P<end>\n)?", re.MULTILINE)


@cache
def text(name: str) -> str:
    """Return the text of a file below `noai_guard/`, for example `targets/lua/judge.lua`. UTF-8, lines end in LF."""
    return files("noai_guard").joinpath(name).read_text(encoding="utf-8")


def placeholders(name: str) -> set[str]:
    """Return the names of the placeholders of a file, in lower case."""
    return {match["name"].lower() for match in _PLACEHOLDER.finditer(text(name))}


def filled(name: str, **values: str | Iterable[str]) -> str:
    """Return the text of a file with `__NAME__` replaced by `values["name"]`, everywhere.

    A value that is not a str is a number of lines: its placeholder stands alone on its line, which is repeated for
    each of them with the same indentation, or dropped if there are none.

    Raises KeyError for a placeholder without a value and for a value without a placeholder; ValueError for lines whose
    placeholder does not stand alone.
    """
    template = text(name)
    if unused := values.keys() - placeholders(name):
        raise KeyError(f"{name} has no placeholder for {', '.join(sorted(unused))}")
    values = {key: value if isinstance(value, str) else tuple(value) for key, value in values.items()}

    def replacement(match: re.Match[str]) -> str:
        indent, end, value = match["indent"], match["end"] or "", values[match["name"].lower()]
        if isinstance(value, str):
            return f"{indent or ''}{value}{end}"
        if indent is None or not end:
            raise ValueError(f"{name}: __{match['name']}__ stands for lines, and so alone on its line")
        return "".join(f"{indent}{line}\n" for line in value)

    return _PLACEHOLDER.sub(replacement, template)


_MONITORING = (
    "docker-compose.yml", "prometheus/prometheus.yml", "prometheus/alerts.yml", "prometheus/recording.yml",
    "grafana/noai-overview.json", "grafana/noai-agent.json", "grafana/noai-health.json",
    "grafana-provisioning/datasources/prometheus.yml", "grafana-provisioning/dashboards/noai-guard.yml",
)  # fmt: skip

FOR_OPERATORS: Mapping[str, str] = {
    "noai-guard.service": "deploy/noai-guard.service",
    "noai-guard-refresh.service": "deploy/noai-guard-refresh.service",
    "noai-guard-refresh.timer": "deploy/noai-guard-refresh.timer",
    "noai-guard-prune.service": "deploy/noai-guard-prune.service",
    "noai-guard-prune.timer": "deploy/noai-guard-prune.timer",
    **{name: f"examples/monitoring/{name}" for name in _MONITORING},
}
"""Name of a file for operators -> where it is in the repository. Side by side they find each other by these names."""


def file_for_operators(name: str) -> bytes:
    """Return the content of a file of `FOR_OPERATORS`, from the installed package or from the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "for_operators" / name
    return (installed if installed.is_file() else package.parent / FOR_OPERATORS[name]).read_bytes()


@cache
def texts(name: str) -> Mapping[str, str]:
    """Return key -> text of a file of lines `key: text`, which is also YAML; comments and blank lines are left out."""
    pairs = (line.split(": ", 1) for line in text(name).splitlines() if line and not line.startswith("#"))
    return {key: value.removeprefix('"').removesuffix('"') for key, value in pairs}
