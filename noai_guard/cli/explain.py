"""noai-guard explain: decide one request as every driver does, and say why."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import time
from typing import Any
from urllib.parse import unquote

import click
from prometheus_client import CollectorRegistry

from noai_guard.cli.console import CannotRun
from noai_guard.cli.options import chosen_policy, name_policy, policy_name, policy_option
from noai_guard.compiled import CompiledPolicy
from noai_guard.core.client_address import ClientAddress, client_address
from noai_guard.core.evidence import user_agent_description
from noai_guard.core.guard import Needs
from noai_guard.core.identity.addresses import doubt
from noai_guard.core.identity.reverse_dns import HostName
from noai_guard.core.identity.signed_claims import is_own
from noai_guard.core.identity.signing_keys import SigningKey
from noai_guard.core.identity.web_bot_auth import SignedRequest, check_signatures, is_signed
from noai_guard.core.model import (
    NAMELESS,
    UNCLAIMED_AGENTS,
    UNKNOWN_BOT,
    Action,
    Document,
    HeaderField,
    Response,
    SignedAs,
    Verdict,
    single_claims,
)
from noai_guard.core.opt_outs import asked
from noai_guard.core.partners import admission, may_prove
from noai_guard.core.paths import normal_path
from noai_guard.core.questions import STORE_QUESTIONS, Examination, run
from noai_guard.core.request import PlainRequest
from noai_guard.core.text import printable
from noai_guard.declarations import robots_txt
from noai_guard.middleware.active_policy import Decided, ServeDocument
from noai_guard.middleware.runtime import GuardRuntime
from noai_guard.responses.documents import document_headers
from noai_guard.stores.key_directory import LIMITS
from noai_guard.stores.memory import MemoryStore
from noai_guard.stores.reverse_dns import LOOKUP_SECONDS, ReverseDns
from noai_guard.stores.router import Router

_COLOURS = {Action.ALLOW: "green", Action.LOG: "green"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The outcome of one request: a document, or a verdict (and, if it refuses, the refusal)."""

    request: PlainRequest
    client: ClientAddress
    reasons: tuple[str, ...]
    fields: Sequence[HeaderField]
    notes: tuple[str, ...]
    document: Document | None = None
    verdict: Verdict | None = None
    refusal: Response | None = None
    tags: str = ""
    looks_like: str | None = None
    also_named: tuple[str, ...] = ()
    proof: tuple[str, ...] = ()


@click.command("explain")
@click.option("--ua", "user_agents", multiple=True, help="The User-Agent; again for several lines.")
@click.option("--ip", "peer", help="Address that the request comes from (the socket's peer).")
@click.option("--path", "target", default="/", help="Path or URL that is asked for.  [default: /]")
@click.option("--method", default="GET", help="[default: GET]")
@click.option("--header", "headers", multiple=True, metavar="'Name: value'", help="A header line; may be repeated.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
@policy_option
def command(
    user_agents: Sequence[str],
    peer: str | None,
    target: str,
    method: str,
    headers: Sequence[str],
    style: str,
    policy_file: str | None,
) -> None:
    """Say what the policy does with one request, with every reason.

    \b
    Examples:
      noai-guard explain --ua 'Mozilla/5.0 (compatible; GPTBot/1.3)' --path /tracks/song
      noai-guard explain --ua 'VLC/3.0.21' --path /audio/a.mp3 --header 'Range: bytes=0-'
      noai-guard explain --ua curl/8.5 --ip 10.0.0.2 --header 'X-Forwarded-For: 203.0.113.9' \\
                         --policy noai.yaml --format json
    """
    request = described_request(user_agents, peer, target, method, headers)
    runtime = GuardRuntime(chosen_policy(policy_file), registry=CollectorRegistry(), peer_is_real=True)
    explanation = explain(runtime, request)
    if style == "json":
        click.echo(json.dumps(as_facts(explanation), indent=2))
        name_policy(policy_file)
    else:
        for line in _text(runtime.compiled, explanation, policy_name(policy_file)):
            click.echo(line)


def described_request(
    user_agents: Sequence[str], peer: str | None, target: str, method: str, headers: Sequence[str]
) -> PlainRequest:
    """Return the request that the options describe. Raises CannotRun if no request could be so."""
    lines = [(b"user-agent", _value(os.fsencode(line), "--ua")) for line in user_agents]
    if peer not in (None, "unix:") and client_address(peer, ()).problem:
        raise CannotRun(f"--ip {peer!r} is not an address; write 203.0.113.7, 2001:db8::7 or unix:")
    address = None if peer in (None, "unix:") else (peer, None)
    # Decoded as an ASGI server decodes it.
    path = unquote(target.partition("?")[0])
    sent = os.fsencode(target) if target.startswith("/") else b""
    return PlainRequest(path, [*lines, *map(_field, headers)], method.upper(), address, target=sent)


def _value(value: bytes, option: str) -> bytes:
    if any(byte in value for byte in b"\r\n\0"):
        raise CannotRun(f"{option} holds a line break, which no header can; repeat the option for several lines")
    return value.strip(b" \t")


def _field(line: str) -> HeaderField:
    name, colon, value = os.fsencode(line).partition(b":")
    if not colon or not name or not name.isascii() or any(byte <= 32 for byte in name):
        raise CannotRun(f"{line!r} is not a header line; write --header 'Name: value'")
    return name.lower(), _value(value, "--header")


def explain(runtime: GuardRuntime, request: PlainRequest) -> Explanation:
    """Decide a first request of its client, and add what helps to understand the decision."""
    compiled = runtime.compiled
    client = runtime.client(request, runtime.active)
    names = _NoticedNames()
    outcome = runtime.decide(request)
    if isinstance(outcome, ServeDocument):
        merged = outcome.document.path == robots_txt.PATH and compiled.merges_robots
        notes: tuple[str, ...] = ("the app's own robots.txt, when it has one, is merged into it",) if merged else ()
        reasons = ("declarations are sent to everyone, before any judgement",)
        return Explanation(request, client, reasons, document_headers(outcome.document), notes, outcome.document)
    if not isinstance(outcome, Decided):
        outcome = run(outcome, _stores(runtime, names), runtime.reports.unanswered)
    verdict = outcome.cached.verdict
    declared = compiled.declared_on(verdict.path_policy)
    looks_like = None
    if verdict.agent in (None, *UNCLAIMED_AGENTS) and request.user_agent:
        description = user_agent_description.describe(request.user_agent)
        looks_like = str(description) if description else None
    notes, tags = (*names.notes, *_notes(compiled, request, verdict, client)), declared.tags.decode("ascii")
    named = (agent.name for agent in compiled.catalog.candidates(request.user_agent))
    also_named = tuple(name for name in named if verdict.agent is None or name != verdict.agent.name)
    proof = run(_proof(runtime, request, verdict), _stores(runtime, names), lambda question, error: None)
    return Explanation(
        request, client, verdict.reasons, declared.fields, notes, None, verdict, outcome.refusal, tags, looks_like,
        also_named, proof,
    )  # fmt: skip


def _stores(runtime: GuardRuntime, names: "_NoticedNames") -> Router:
    """Return stores that know nothing of other requests."""
    runtime.keys.deadline = LIMITS.seconds
    return Router({**dict.fromkeys(STORE_QUESTIONS, MemoryStore()), HostName: names, SigningKey: runtime.keys})


def _proof(runtime: GuardRuntime, request: PlainRequest, verdict: Verdict) -> Examination[tuple[str, ...]]:
    """Return the steps by which the request proves, or does not, whom it comes from."""
    steps: list[str] = []
    policy, now = runtime.compiled.policy, time()
    claim = runtime.compiled.guard.claims[request.claim_key]
    signer = next((each.agent for each in single_claims(claim) if isinstance(each, SignedAs)), verdict.agent)
    if is_signed(request.headers) and signer is not None and signer not in UNCLAIMED_AGENTS:
        signed = SignedRequest(request.method, request.target, request.headers, policy.authorities)
        check = yield from check_signatures(signed, now, lambda directory, key: is_own(signer, directory))
        steps += (f"{signer.name}: {step}" for step in check.steps)
    if policy.partners:
        client = runtime.client(request, runtime.active)
        address = None if doubt(client, request.headers, policy.trusted_proxies) else client.address
        if may_prove(policy.partners, request, address):
            admitted = yield from admission(
                policy.partners, request, claim, verdict.path_policy, address, policy.authorities, now
            )
            steps += admitted.steps
    return tuple(steps)


class _NoticedNames:
    """Asks the DNS for names of addresses, and keeps a sentence about each answer."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._names = ReverseDns(LOOKUP_SECONDS)

    def answer(self, question: HostName) -> str:
        try:
            name = self._names.answer(question)
        except Exception as error:
            self.notes.append(f"reverse DNS did not answer for {question.address}: {error}")
            raise
        said = f"says {printable(name)}, which leads back to it" if name else "has no such name"
        self.notes.append(f"reverse DNS of {question.address} {said}")
        return name


def _notes(compiled: CompiledPolicy, request: PlainRequest, verdict: Verdict, client: ClientAddress) -> Iterator[str]:
    agent = verdict.agent
    guard = compiled.guard
    path_class = guard.table.path_classes[normal_path(request.path)]
    if guard.needs(guard.claims[request.claim_key], path_class) & Needs.ADDRESS and not _is_known(client):
        yield "the client's address is not known for certain, so no condition on networks is met"
    if agent and agent.opt_out and not verdict.refuses:
        usages = ", ".join(agent.opt_out.usages)
        how = asked(compiled.policy, verdict.path_policy, agent)
        is_reserved = how.form and any(map(verdict.path_policy.reserves, agent.opt_out.usages))
        declared = f"declared by {how}" if is_reserved else "not declared here"
        if agent.opt_out.by:
            yield f"{agent.name} serves {usages} too, under the same user agent; the opt-out of that is {declared}"
        else:
            yield f"{agent.name} serves {usages} too, under the same user agent; its operator offers no opt-out of that"
    if agent and agent.note:
        yield agent.note
    if not verdict.enforced and verdict.action.restricts:
        yield "mode is monitor: this is counted and the request is let in"
    if compiled.guard.judged(normal_path(request.path), request.claim_key).action is Action.THROTTLE:
        limit = compiled.policy.throttle
        yield f"this is the answer to a first request; after {limit.requests} in {limit.seconds} s it is 429"


def _is_known(client: ClientAddress) -> bool:
    return client.address is not None and client.is_proven


def as_facts(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation as plain data, for `--format json`."""
    request, verdict, refusal = explanation.request, explanation.verdict, explanation.refusal
    document, client = explanation.document, explanation.client
    agent = verdict.agent if verdict else None
    return {
        "request": {
            "method": request.method,
            "path": normal_path(request.path),
            "user_agent": request.user_agent.decode("latin-1"),
            "peer": request.peer[0] if request.peer else None,
        },
        "client": {"address": client.address, "source": client.source, "problem": client.problem},
        "document": {"path": document.path, "media_type": document.media_type} if document else None,
        "action": verdict.action if verdict else Action.ALLOW,
        "enforced": verdict.enforced if verdict else True,
        "refused": refusal is not None,
        "rule": verdict.rule if verdict else None,
        "agent": agent.name if agent else None,
        "operator": agent.operator if agent else None,
        "usage": verdict.usage if verdict else None,
        "usages": agent.usages if agent else (),
        "ai": agent.ai if agent else False,
        "identity": verdict.identity if verdict else None,
        "section": verdict.path_policy.pattern if verdict else None,
        "reasons": explanation.reasons,
        "proof": explanation.proof,
        "also_named": explanation.also_named,
        "looks_like": explanation.looks_like,
        "declares": _fields(explanation.fields),
        "html_tags": explanation.tags,
        "refusal": refusal
        and {"status": refusal.status, "headers": _fields(refusal.headers), "body": refusal.body.decode()},
        "notes": explanation.notes,
    }


def _fields(fields: Sequence[HeaderField]) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in fields]


def _text(compiled: CompiledPolicy, explanation: Explanation, policy: str) -> Iterator[str]:
    request, verdict, refusal = explanation.request, explanation.verdict, explanation.refusal
    client = explanation.client
    yield click.style(f"{printable(request.method)} {printable(normal_path(request.path))}", bold=True)
    yield _row("policy", policy)
    if verdict is None:
        yield _row("action", click.style("allow", fg="green") + "  a declaration of the site")
    else:
        action = click.style(verdict.action, fg=_COLOURS.get(verdict.action, "red"), bold=True)
        outcome = "let in, because mode is monitor" if verdict.action.restricts else "let in"
        yield _row("action", f"{action}  {f'HTTP {refusal.status}' if refusal else outcome}")
        yield _row("rule", verdict.rule)
        yield _row("agent", _agent(verdict))
        pattern = verdict.path_policy.pattern
        whole_site = verdict.path_policy == compiled.policy.whole_site
        yield _row("section", f"{pattern} (the whole site)" if whole_site else pattern)
    source = "the socket" if client.source == "socket" else f"the header {client.source}"
    problem = f" ({client.problem})" if client.problem and request.peer else ""
    yield _row("client", f"{client.address}, from {source}{problem}" if client.address else "not given")
    for index, reason in enumerate(explanation.reasons):
        yield _row("" if index else "because", reason)
    for index, step in enumerate(explanation.proof):
        yield _row("" if index else "proof", printable(step))
    if explanation.also_named:
        yield _row("also", f"names {', '.join(explanation.also_named)}, which weigh less")
    if explanation.looks_like:
        yield _row("looks like", printable(explanation.looks_like))
    for note in explanation.notes:
        yield _row("note", note)
    if refusal:
        yield _row("refusal", f"HTTP {refusal.status}")
        yield from (f"    {name}: {value}" for name, value in _fields(refusal.headers))
        yield ""
        yield from (f"    {line}" for line in refusal.body.decode().splitlines())
        return
    yield _row("headers", "added to the response:" if explanation.fields else "none are added")
    yield from (f"    {name}: {value}" for name, value in _fields(explanation.fields))
    if explanation.tags:
        yield _row("metas", "added to an HTML page:")
        yield f"    {explanation.tags}"


def _row(name: str, value: str) -> str:
    return f"  {name:<11}{value}"


def _agent(verdict: Verdict) -> str:
    agent = verdict.agent
    if agent is None:
        return f"none ({verdict.identity})"
    if agent is UNKNOWN_BOT:
        return f"an unknown bot ({verdict.identity})"
    if agent is NAMELESS:
        return f"none, without a name ({verdict.identity})"
    return f"{agent.name} of {agent.operator}, {agent.trigger} for {', '.join(agent.usages)} ({verdict.identity})"
