"""noai-guard init: a noai.yaml with every key, explained, and most of them commented out."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from noai_guard.cli.console import CannotRun, unwritable
from noai_guard.cli.options import DEFAULT_POLICY, FileName
from noai_guard.cli.output_files import replaceable
from noai_guard.config import load_catalog, load_stance
from noai_guard.config.policy_schema import POLICY_FILE, STANCES
from noai_guard.config.schema_types import Choice, Field, ListOf, MapOf, Record, ValueType
from noai_guard.core.agent_outcomes import AgentOutcomes
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, Agent, Usage
from noai_guard.core.policy import Policy

_EXAMPLE_PATH = "/press/**"
"""The example of a part of the site with usages of its own."""

_EXAMPLES: Mapping[str, str] = {
    "site.url": "https://example.org",
    "site.name": "Example Records",
    "site.owner": "Example Records Ltd",
    "site.contact": "rights@example.org",
    "site.policy_page": "/.well-known/noai",
    "site.page_texts": "en",
    "site.licence": "https://example.org/licence",
    "site.tdm_policy": "https://example.org/tdm-policy.json",
    f"paths.{_EXAMPLE_PATH}.usages.train-ai": "license_required",
    f"paths.{_EXAMPLE_PATH}.usages.ai-search": "yes",
    "agents": "[{name: ExampleGrab, usages: [scraper], expected_user_agent: [ExampleGrab]}]",
    "agents_dir": "./agents/",
    "networks": "{office: [203.0.113.0/24]}",
    "rules.id": "training-by-licence",
    "rules.agents": "[GPTBot]",
    "rules.operators": "[OpenAI]",
    "rules.usages": "[train-ai]",
    "rules.identities": "[unverified, verified]",
    "rules.paths": "[/tracks/**]",
    "rules.networks": "[office]",
    "rules.headers": "{X-Crawler: present}",
    "rules.action": "license_required",
    "rules.message": "Ask us for a licence.",
    "partners.name": "example-licensee",
    "partners.proof.api_key": f"[{'0123456789abcdef' * 4}]",
    "partners.proof.networks": "[203.0.113.0/24]",
    "partners.proof.signature.directory": "https://licensee.example",
    "partners.proof.signature.key_ids": "[poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U]",
    "partners.usages": "[train-ai]",
    "partners.paths": "[/tracks/**]",
    "partners.from": "2027-01-01",
    "partners.until": "2027-12-31",
    "events.to": "[files]",
    "events.folder": "./events/",
    "events.keep": "12 months",
    "events.file_size": "64",
    "wishes": "catalogue.csv",
    "creators": "tighten",
    "uses.use": "recommendation",
    "uses.by": "Example Records Ltd",
    "uses.trains_generative_models": "no",
    "uses.licence": "https://example.org/licences/recommendation",
    "notices.text": "All rights in the works of our members are reserved.",
    "notices.by": "Example Collecting Society",
    "notices.lang": "en",
    "exemptions.paths": "[/open/**]",
    "identity.stale_after": "14",
    "identity.networks": "{Googlebot: [203.0.113.0/24]}",
    "signatures.keys": "{}",
    "refresh.folder": "./refreshed/",
    "refresh.every": "24",
    "store": "'memory:'",
    "ledger.folder": "./noai-ledger/",
    "ledger.notice": "30",
    "ledger.key": "'ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'",
    "limits.store_deadline": "5",
    "exemptions.agents": "[UptimeRobot]",
    "exemptions.addresses": "[203.0.113.0/24]",
    "trusted_proxies.peers": "[127.0.0.1]",
    "trusted_proxies.header": "x-forwarded-for",
    "trusted_proxies.max_hops": "1",
}
"""Dotted key -> an example, for keys that have no value in a stance."""

_NAMED_FIRST = ("GPTBot", "ClaudeBot", "CCBot", "Bytespider", "PerplexityBot", "OAI-SearchBot", "ChatGPT-User",
                "Claude-User", "Diffbot", "img2dataset")  # fmt: skip
_YES_NO = {Action.ALLOW: "yes", Action.DENY: "no"}
_KEY_WIDTH = 44


@click.command("init")
@click.option("--stance", type=click.Choice(STANCES), default="no-ai", help="Policy to extend.  [default: no-ai]")
@click.option("--out", type=FileName(allow_dash=True), default=DEFAULT_POLICY, show_default=True, metavar="FILE",
              help="- for standard output.")  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
def command(stance: str, out: str, force: bool) -> None:
    """Write a noai.yaml that extends a ready stance, and list what it will refuse.

    The file has every key with an explanation; those that are commented out have the value of the stance.

    \b
    no-ai        no training, no answer engines, no assistants; search, previews, players welcome
    no-training  no training; answer engines and assistants welcome
    search-only  as no-ai, and no archives or SEO tools either

    \b
    Examples:
      noai-guard init
      noai-guard init --stance no-training --out site/noai.yaml
    """
    policy = load_stance(stance)
    if to_stdout := out == "-":
        click.echo(template(policy), nl=False)
    else:
        _write(Path(out), template(policy), force)
    name = DEFAULT_POLICY if to_stdout else click.format_filename(out)
    lines = [
        *_summary(policy),
        "",
        f"{'Save it as' if to_stdout else 'Wrote'} {name}. Fill in site:, then: noai-guard check {name}",
        "Editors complete it with: noai-guard schema policy > noai.schema.json",
        f'In the app: app.add_middleware(NoAIMiddleware, policy="{name}")',
    ]
    for line in lines:
        click.echo(line, err=to_stdout)


def _write(file: Path, text: str, force: bool) -> None:
    try:
        if not force:
            with file.open("x", encoding="utf-8") as stream:
                stream.write(text)
            return
        partial = replaceable(file).with_name(f".{file.name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except FileExistsError as error:
        raise CannotRun(f"{file} exists; --force overwrites it, --out names another file") from error
    except OSError as error:
        raise unwritable(error, file) from error


def template(policy: Policy) -> str:
    """Return a noai.yaml for a stance. Lines that begin with one `#` and a blank become keys if both are removed."""
    head = [
        "# yaml-language-server: $schema=noai.schema.json",
        "## The policy of this site, for noai-guard. After a change: noai-guard check",
        "## To use a key, remove the '# ' before it and before the keys that contain it.",
        "## The value of a usage is yes, no, or an action:",
    ]
    usages = POLICY_FILE.fields["usages"].value_type
    kinds = [field.value_type for field in usages.fields.values()] if isinstance(usages, Record) else []
    actions = {word: doc for kind in kinds if isinstance(kind, Choice) for word, doc in kind.words.items()}
    lines = [*head, *(f"##   {word:<18}{doc}" for word, doc in actions.items()), ""]
    values = {**_EXAMPLES, **_values_of(policy)}
    for key, field in POLICY_FILE.fields.items():
        # A file or folder has to be there before it is named.
        mark = "" if key == "extends" else "## " if key in ("agents_dir", "wishes") else "# "
        depth = len("# ") - len(mark)
        lines += [f"{mark}{line}" for line in _field(key, field, key, values, -depth)] + [""]
    return "\n".join(lines[:-1]) + "\n"


def _values_of(policy: Policy) -> dict[str, str]:
    """Return the values of the stance by dotted key."""
    values: Mapping[str, object] = {
        "extends": policy.stance,
        "mode": policy.mode,
        "on_unknown": policy.on_unknown,
        "limits.throttle.requests": policy.throttle.requests,
        "limits.throttle.seconds": policy.throttle.seconds,
        "features.second_look": policy.second_look,
        "features.shared_cache": policy.shared_cache,
        "features.reload": policy.reload,
        **{f"usages.{usage}": _YES_NO.get(action, action) for usage, action in policy.usages.items()},
        **{f"declarations.{key}": value for key, value in policy.declarations.items()},
    }
    words: Mapping[object, str] = {True: "yes", False: "no"}
    return {key: words[value] if isinstance(value, bool) else str(value) for key, value in values.items()}


def _field(key: str, field: Field, path: str, values: Mapping[str, str], depth: int = 0) -> Iterator[str]:
    """Yield the lines of one key with its meaning; `depth` is how far the caller indents the first one."""
    kind = field.value_type
    doc = field.doc
    if isinstance(kind, Choice) and set(kind.words).isdisjoint({"yes", Action.LOG}) and len(kind.words) < 6:
        doc += f" ({', '.join(kind.words)})"
    below = [] if path in values else list(_below(kind, path, values, depth + 2))
    first_word = next(iter(kind.words)) if isinstance(kind, Choice) else ""
    text = f"{key}:" if below else f"{key}: {values.get(path) or first_word}"
    yield f"{text:<{_KEY_WIDTH - depth}}  # {doc}"
    yield from (f"  {line}" for line in below)


def _below(kind: ValueType, path: str, values: Mapping[str, str], depth: int) -> Iterator[str]:
    if isinstance(kind, Record):
        for key, field in kind.fields.items():
            if _EXAMPLE_PATH not in path or f"{path}.{key}" in values or not isinstance(field.value_type, Choice):
                yield from _field(key, field, f"{path}.{key}", values, depth)
    elif isinstance(kind, MapOf):
        yield f"{_EXAMPLE_PATH}:"
        yield from (f"  {line}" for line in _below(kind.value, f"{path}.{_EXAMPLE_PATH}", values, depth + 2))
    elif isinstance(kind, ListOf) and isinstance(kind.item, Record):
        for number, line in enumerate(_below(kind.item, path, values, depth + 2)):
            yield f"{'  ' if number else '- '}{line}"


def _summary(policy: Policy) -> Iterator[str]:
    outcomes = AgentOutcomes.of(DecisionTable(policy, load_catalog()))
    refused: dict[Usage, list[Agent]] = {}
    for agent in outcomes.refused:
        usage = max(agent.usages, key=lambda usage: policy.usages[usage].strictness)
        refused.setdefault(usage, []).append(agent)
    yield f"The stance {policy.stance} refuses {len(outcomes.refused)} of {outcomes.known} known agents:"
    for usage in Usage:
        if usage in refused:
            yield f"  {len(refused[usage]):>4} {usage:<12} {_named(refused[usage])}"
    logged = len(outcomes.logged)
    yield f"{logged} more are allowed and logged (HTTP libraries, headless browsers); nothing changes for the others."
    only_declared = {
        "Only asked, by declarations, because no user agent of their own tells them apart": outcomes.asked,
        "Let in, though they feed AI too and offer no opt-out of that": outcomes.inseparable,
        "Neither refused nor asked, for want of a name": outcomes.nameless,
    }
    for reason, agents in only_declared.items():
        if agents:
            yield f"{reason}: {_named(agents, 20, '')}."


def _named(agents: Sequence[Agent], max_names: int = 5, ellipsis: str = ", ...") -> str:
    order = {name: index for index, name in enumerate(_NAMED_FIRST)}
    names = sorted((agent.name for agent in agents), key=lambda name: (order.get(name, 99), name.lower()))
    return ", ".join(names[:max_names]) + (ellipsis if len(names) > max_names else "")
