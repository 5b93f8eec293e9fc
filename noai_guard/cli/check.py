"""noai-guard check: list every problem of a noai.yaml at once."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

import click

from noai_guard.cli.options import DEFAULT_POLICY, FileName
from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog, unreadable_policy
from noai_guard.config.regular_file import read_regular_file
from noai_guard.core.address_headers import HEADERS
from noai_guard.core.agent_outcomes import AgentOutcomes
from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.guard import Guard
from noai_guard.core.model import Mode
from noai_guard.core.opt_outs import opt_out_notes
from noai_guard.core.policy import Policy
from noai_guard.core.text import listed, printable
from noai_guard.errors import NoAIGuardError, PolicyTooLong, Problem
from noai_guard.record.kept_ledger import verified
from noai_guard.record.publishing import draft
from noai_guard.stores import reverse_dns
from noai_guard.stores.addresses import is_shared
from noai_guard.targets import TARGETS
from noai_guard.targets.work_map import MAX_MAPPED

_DATA_ESCAPES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY_ESCAPES = _DATA_ESCAPES | str.maketrans({":": "%3A", ",": "%2C"})
"""Escapes in GitHub's workflow commands, as its own toolkit makes them."""

_MAX_BYTES = 1024 * 1024 + 1
"""One more than a policy may have, so that a larger one is noticed."""


@click.command("check")
@click.argument("file", default=DEFAULT_POLICY, type=FileName(allow_dash=True))
@click.option("--policy", "also", hidden=True, help="FILE, as the other commands name it.")
@click.option("--strict", is_flag=True, help="Treat warnings as problems.")
@click.option("--verbose", is_flag=True, help="Also print a note on everything that is not declared or not enforced.")
@click.option("--format", "style", type=click.Choice(["text", "json", "github"]), default="text",
              help="text for people, json for programs, github for annotations in a workflow.")  # fmt: skip
@click.pass_context
def command(ctx: click.Context, file: str, also: str | None, strict: bool, verbose: bool, style: str) -> None:
    """Find every problem in FILE (default: noai.yaml; - for standard input).

    Prints one problem a line, as file:line:column: code message; hint, then a summary: how many agents the policy
    refuses, whom it can only ask, for how many works creators have wishes, and how many notes on its limits --verbose
    prints (as JSON they are always there).
    Exit code 0 when the policy can be used, 1 when it has problems, 2 when the file cannot be opened.

    \b
    Examples:
      noai-guard check
      noai-guard check --verbose
      noai-guard check --strict deploy/noai.yaml
      noai-guard check --format github
    """
    file = also or file
    name = printable(file)
    policy, is_readable = None, True
    try:
        text = sys.stdin.buffer.read(_MAX_BYTES) if file == "-" else read_regular_file(file, _MAX_BYTES)
        policy, problems = check_policy_text(text, name)
    except OSError as error:
        is_readable = False
        problems = (unreadable_policy(error, name),)
    limits: tuple[str, ...] = ()
    if policy:
        try:
            limits = tuple(_limits(policy))
        except PolicyTooLong as error:
            policy, problems = None, (*problems, *(replace(problem, file=name) for problem in error.problems))
    wrong = policy is None or (strict and bool(problems))
    cautions = tuple(_cautions(policy)) if policy else ()
    notes = (*limits, *cautions) if verbose or style == "json" else cautions
    if style == "json":
        facts = [{"severity": _severity(problem), **asdict(problem)} for problem in problems]
        for fact in facts:
            del fact["warning"]
        click.echo(json.dumps({"file": name, "ok": not wrong, "problems": facts, "notes": notes}, indent=2))
    elif style == "github":
        summary = [" ".join(_summary(name, policy, len(problems), 0))] if policy else []
        for line in _annotations(name, problems, [*notes, *summary]):
            click.echo(line)
    else:
        for problem in problems:
            click.secho(str(problem), fg="yellow" if problem.warning else "red")
        for note in notes:
            click.echo(f"note: {note}")
        if policy:
            for line in _summary(name, policy, len(problems), len(limits) if not verbose else 0):
                click.echo(line)
        else:
            count = sum(not problem.warning for problem in problems)
            click.echo(f"{name}: {count} problem{'s' * (count != 1)}; the policy cannot be used", err=True)
    ctx.exit(int(wrong) if is_readable else 2)


def _limits(policy: Policy) -> Iterator[str]:
    catalog = load_catalog()
    yield from opt_out_notes(policy, catalog)
    yield from CompiledPolicy(policy, catalog).limitations
    yield from _identity_limits(policy, catalog)


def _identity_limits(policy: Policy, catalog: Catalog) -> Iterator[str]:
    """Yield what stands in the way of checking claims, beside what `_cautions` says."""
    if not reverse_dns.is_installed():
        yield (
            "names of addresses cannot be asked for, so claims are checked by published networks alone: "
            "pip install 'noai-guard[identity]'."
        )
    if not catalog.ranges and not policy.identity.networks:
        yield "no published networks are known, so claims are checked by names of addresses alone."


def _ledger_notes(policy: Policy) -> Iterator[str]:
    """Yield what the policy changes in what the ledger promises, and what of it is looser."""
    if policy.ledger is None:
        return
    now = datetime.now(UTC)
    try:
        ledger = verified(policy.ledger, now)
        drafted = draft(policy, load_catalog(), ledger, now)
    except NoAIGuardError as error:
        yield f"the ledger cannot be used, so nothing is compared with it: {error}."
        return
    for change in drafted.changes:
        yield f"{'looser than' if change.loosens else 'changed since'} entry {ledger.head.number}: {change.text}."
    if drafted.changes:
        when = (
            f"what is looser takes effect on {drafted.effective:%Y-%m-%d}"
            if drafted.loosening
            else ("nothing of it is looser, so it holds at once")
        )
        yield f"this is not published: noai-guard ledger publish; {when}."


def _cautions(policy: Policy) -> Iterator[str]:
    yield from _ledger_notes(policy)
    header = policy.trusted_proxies.header
    if header and (caution := HEADERS.get(header)):
        yield f"{header} {caution}."
    if policy.trusted_proxies.header_name is None and Guard(policy, load_catalog()).checked_agents:
        yield (
            "trusted_proxies names nobody: a request in which a header shows a proxy (X-Forwarded-For, Via ...) is let "
            "in under any name that is let in, because its address proves nothing."
        )
    if policy.throttles and not is_shared(policy.store):
        rate = f"{policy.throttle.requests} requests in {policy.throttle.seconds} s"
        yield f"throttle: each worker counts for itself: {rate} is the limit of one. store: lets them count together."


def _summary(name: str, policy: Policy, warnings: int, hidden_notes: int) -> Iterator[str]:
    outcomes = AgentOutcomes.of(DecisionTable(policy, load_catalog()))
    enforced = policy.mode is Mode.ENFORCE
    mode = "" if enforced else "; mode monitor refuses nobody"
    agents = f"{len(outcomes.refused)} of {outcomes.known} known agents, logs {len(outcomes.logged)}"
    yield f"{'Refuses' if enforced else 'Would refuse'} {agents}{mode}."
    if outcomes.asked:
        yield f"Only asks, by declarations: {listed(sorted(agent.name for agent in outcomes.asked))}."
    if outcomes.inseparable:
        names = listed(sorted(agent.name for agent in outcomes.inseparable))
        yield f"Lets in, though they feed AI too and offer no opt-out of that: {names}."
    if policy.creators.index is not None and policy.creators.index.known:
        works = CompiledPolicy(policy, load_catalog()).declared_works
        yield (
            f"Creators: wishes for {len(policy.creators.index):,} works, of which {works.differing:,} differ from the "
            f"site's policy; of these, robots.txt and the other documents name {works.named:,}."
        )
        servers = listed([target.title for target in TARGETS.values() if target.maps_works])
        if len(policy.creators.index) <= MAX_MAPPED:
            yield f"Creators: `noai-guard config` for {servers} looks up all of them, as they are when it writes."
        else:
            yield f"Creators: `noai-guard config` for {servers} has room for {MAX_MAPPED:,} works only."
    if hidden_notes:
        notes = f"{hidden_notes} note{'s' * (hidden_notes != 1)}"
        yield f"{notes} on what is not declared or not enforced: --verbose prints them."
    reserved = ", ".join(usage for usage in policy.usages if policy.whole_site.reserves(usage)) or "nothing"
    count = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
    yield f"{name}: fine{count}. Extends {policy.stance}, mode {policy.mode}, reserves {reserved}."


def _severity(problem: Problem) -> str:
    return "warning" if problem.warning else "error"


def _annotations(name: str, problems: Sequence[Problem], notes: Sequence[str]) -> Iterator[str]:
    """Yield workflow commands."""
    for problem in problems:
        at = f",line={problem.line},col={problem.column}" if problem.line else ""
        message = f"{problem.message}; {problem.hint}" if problem.hint else problem.message
        properties = f"file={problem.file.translate(_PROPERTY_ESCAPES)}{at},title={problem.code}"
        yield f"::{_severity(problem)} {properties}::{message.translate(_DATA_ESCAPES)}"
    for note in notes:
        yield f"::notice file={name.translate(_PROPERTY_ESCAPES)}::{note.translate(_DATA_ESCAPES)}"
