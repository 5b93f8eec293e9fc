"""noai-guard agents add: an entry for a client that a site sees in its own log."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from noai_guard.cli.console import CannotRun
from noai_guard.cli.options import FileName, chosen_policy, policy_option
from noai_guard.cli.output_files import content_of, write_files
from noai_guard.config import load_catalog, rules_folder
from noai_guard.config.catalogue_schema import read_browsers, read_own_agents_text
from noai_guard.config.own_agents import Browsers, listener_taken_for, own_agent_problems
from noai_guard.core.catalog import Catalog
from noai_guard.core.guard import CALLS_ITSELF_A_BOT
from noai_guard.core.model import Agent, Usage
from noai_guard.core.text import CONTROL_CHARACTERS, printable, truncated
from noai_guard.core.user_agent_matcher import token_problem
from noai_guard.targets.target import File

_USAGES = [usage.value for usage in Usage if usage not in (Usage.UNKNOWN_BOT, Usage.NAMELESS)]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{2,}(?:[ .][A-Z][A-Za-z0-9_-]+)*")
_MAX_USER_AGENT = 1024


@click.command("add")
@click.argument("user_agent")
@click.option("--usage", "usages", multiple=True, type=click.Choice(_USAGES), default=("scraper",),
              help="What it fetches for; repeatable.  [default: scraper]")  # fmt: skip
@click.option("--name", help="What to call it.  [default: the token]")
@click.option("--token", help="The part of the user agent that tells it.  [default: its first own word]")
@click.option("--operator", help="Who runs it.")
@click.option(
    "--network", "networks", multiple=True, metavar="CIDR", help="Every request from here is its; repeatable."
)
@click.option("--header", "headers", multiple=True, metavar="'Name: word'",
              help="Every request with this header field is its; without a word, any value counts.")  # fmt: skip
@click.option(
    "--out", type=FileName(), metavar="FILE", help="Where to write the entry; - prints it.  [default: agents/NAME.yaml]"
)
@policy_option
def add(
    user_agent: str,
    usages: Sequence[str],
    name: str | None,
    token: str | None,
    operator: str | None,
    networks: Sequence[str],
    headers: Sequence[str],
    out: str | None,
    policy_file: str | None,
) -> None:
    """Write an entry that recognises USER_AGENT, as it stands in your log, and prove that it takes no listener.

    The token is looked for in the user agents of real browsers, players and podcast apps. One that any of them has is
    refused. A client that has no word of its own can be told by --network or --header.

    \b
    Examples:
      noai-guard agents add 'TrackGrab/2.1 (+https://trackgrab.example)'
      noai-guard agents add 'Mozilla/5.0 (X11) Chrome/126.0' --name Quiet --network 198.51.100.0/24
      noai-guard agents add 'python-thing/1' --usage automation --out -
    """
    if CONTROL_CHARACTERS.search(user_agent) or len(user_agent) > _MAX_USER_AGENT:
        raise CannotRun(f"the user agent is longer than {_MAX_USER_AGENT} characters, or holds control characters")
    browsers = read_browsers(rules_folder() / "browsers.yaml")
    catalog = load_catalog().extended(chosen_policy(policy_file).agents)
    by_origin = bool(networks or headers)
    known = catalog.find(user_agent.encode("utf-8", "replace"))
    if known and not token and not by_origin:
        raise CannotRun(
            f"{known.name} ({known.operator}) is known already; noai-guard agents {known.name!r} shows it", exit_code=1
        )
    token = token or (None if by_origin else _own_word(user_agent, catalog, browsers))
    if token:
        _check_token(token, user_agent, catalog, browsers)
    entry: dict[str, Any] = {"name": name or token or "", "usages": list(usages), "trigger": "crawler"}
    if not entry["name"]:
        raise CannotRun("an agent without a token needs a name; add --name")
    entry["expected_user_agent"] = [token] if token else []
    if networks:
        entry["networks"] = list(networks)
    if headers:
        entry["headers"] = dict(map(_header, headers))
    if token:
        entry["samples"] = {"match": [user_agent]}
    text = _yaml({**({"operator": operator} if operator else {}), "agents": [entry]})
    _prove(text, catalog, browsers)
    if out == "-":
        click.echo(text, nl=False)
        return
    folder = Path(policy_file).parent if policy_file else Path()
    file = (
        Path(out) if out else folder / "agents" / f"{re.sub(r'[^a-z0-9]+', '-', entry['name'].lower()).strip('-')}.yaml"
    )
    if content_of(file) is not None:
        raise CannotRun(f"{file} exists; remove it, or choose another with --out")
    write_files({file: File(file.name, text.encode(), "")}, only_check=False)
    if str(file.parent) not in chosen_policy(policy_file).files:
        click.echo(f"Write agents_dir: {file.parent.name}/ into noai.yaml, then: noai-guard agents {entry['name']!r}")


def _own_word(user_agent: str, catalog: Catalog, browsers: Browsers) -> str:
    """Return the first word of a user agent that no listener has. Raises CannotRun if there is none."""
    words = dict.fromkeys(match[0] for match in _NAME.finditer(re.sub(r"https?://\S*|\S+@\S+", " ", user_agent)))
    # A word by which a client calls itself a bot is the better name of several.
    for word in sorted(words, key=lambda word: not CALLS_ITSELF_A_BOT.search(word.lower().encode())):
        agent = _agent(word)
        if agent and Catalog([agent]).find(user_agent.encode()) and not listener_taken_for([agent], catalog, browsers):
            return word
    raise CannotRun(
        "every word of this user agent is in those of people too, so a name cannot tell it; "
        "use --network or --header with --name",
        exit_code=1,
    )


def _agent(token: str) -> Agent | None:
    return None if token_problem(token) else Agent(token, "", (Usage.SCRAPER,), (token,))


def _check_token(token: str, user_agent: str, catalog: Catalog, browsers: Browsers) -> None:
    if problem := token_problem(token):
        raise CannotRun(f"--token {printable(token)!r}: {problem}; rules/README.md explains tokens")
    agent = Agent(token, "", (Usage.SCRAPER,), (token,))
    if listener := listener_taken_for([agent], catalog, browsers):
        message = f"{token!r} is in the user agent of people too ({truncated(listener, 160)})"
        raise CannotRun(f"{message}; a listener would be refused, choose a longer token", exit_code=1)
    if Catalog([agent]).find(user_agent.encode()) is None:
        raise CannotRun(f"{token!r} is not in the user agent as a word of its own; choose one that is", exit_code=1)


def _header(line: str) -> tuple[str, list[str]]:
    name, _, word = line.partition(":")
    return name.strip(), [word.strip() or "present"]


def _yaml(data: dict[str, Any]) -> str:
    """Return an operator's file as people write it; its values are JSON, which YAML reads."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in data.items() if key != "agents"]
    lines.append("agents:")
    for entry in data["agents"]:
        rows = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
        lines += [f"  - {rows[0]}", *(f"    {row}" for row in rows[1:])]
    return "\n".join(lines) + "\n"


def _prove(text: str, catalog: Catalog, browsers: Browsers) -> None:
    """Read an entry as the policy will. Raises CannotRun with the first problem."""
    entries, problems = read_own_agents_text(text.encode(), "the entry")
    found = [f"{problem.message}; {problem.hint}" for problem in problems]
    found = found or [
        f"{problem.message}; {problem.hint}" for problem in own_agent_problems(entries, catalog, browsers)
    ]
    if found:
        raise CannotRun(found[0], exit_code=1)
