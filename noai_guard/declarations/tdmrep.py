"""TDM Reservation Protocol (W3C Community Group Final): /.well-known/tdmrep.json, headers, metas and a policy in ODRL.

Readers take the first matching entry of the file, so the longest path comes first. An entry has one bit: reserved or
not. The protocol is about training, so a path policy reserves here if it reserves `train-ai`.

`tdm-policy` is the address of a policy that says whom to ask. A reservation without it means that no licence is
available, so a site that has an address but no policy of its own gets one here: an Offer that permits mining to those
who obtain consent. It has no constraint, because the policy of a site does not mention research or other purposes.
"""

import html
import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from noai_guard.core.model import Action, Document, HeaderField, PathPolicy, Usage
from noai_guard.core.path_patterns import pattern_to_robots
from noai_guard.core.policy import DecisionTable, Policy
from noai_guard.core.site_addresses import ascii_uri, document_address, page_address
from noai_guard.declarations.shared import robots_patterns
from noai_guard.declarations.shared.standard import Standard, training_only_limitations

PATH = "/.well-known/tdmrep.json"
POLICY_PATH = "/tdm-policy.json"


def _reserves(path_policy: PathPolicy) -> bool:
    return path_policy.reserves(Usage.TRAIN_AI)


def _publishes_offer(policy: Policy) -> bool:
    """Return True if we publish the policy document. It needs an absolute address, so the site must have a `url`."""
    site = policy.site
    return bool(site.url) and not site.tdm_policy and any(map(_reserves, policy.all_path_policies))


def _policy_url(policy: Policy) -> str:
    """Return the address for `tdm-policy`, or an empty string."""
    if _publishes_offer(policy):
        return document_address(policy.site, POLICY_PATH)
    return ascii_uri(policy.site.tdm_policy)


def _documents(table: DecisionTable) -> Sequence[Document]:
    policy = table.policy
    reserved = [path_policy for path_policy in table.path_policies if _reserves(path_policy)]
    if not reserved:
        return ()
    entries = [*robots_patterns.path_policies(policy), ("/", policy.whole_site)]
    if len(reserved) < len(table.path_policies):
        # The file must not say 0 for reserved paths: a pattern without an exact equivalent is covered by a wider
        # one. The header field of a response takes precedence over the file.
        wider = [
            (robots_patterns.covering(path_policy.pattern), path_policy)
            for path_policy in reserved
            if pattern_to_robots(path_policy.pattern) is None
        ]
        entries = [*wider, *entries]
    documents = [_document(PATH, [_entry(pattern, policy, path_policy) for pattern, path_policy in entries])]
    if _publishes_offer(policy):
        documents.append(_document(POLICY_PATH, _offer(policy, reserved)))
    return documents


def _document(path: str, content: object) -> Document:
    return Document(path, "application/json", json.dumps(content, indent=1).encode() + b"\n")


def _entry(location: str, policy: Policy, path_policy: PathPolicy) -> dict[str, Any]:
    reserved = _reserves(path_policy)
    entry: dict[str, Any] = {"location": location, "tdm-reservation": int(reserved)}
    if reserved and _policy_url(policy):
        entry["tdm-policy"] = _policy_url(policy)
    return entry


def _offer(policy: Policy, reserved: Sequence[PathPolicy]) -> dict[str, Any]:
    """Return an Offer in the profile of ODRL 2.2 that TDMRep defines: one assigner, one permission, no prohibition."""
    duties = ["obtainConsent"]
    if all(path_policy.usages[Usage.TRAIN_AI] is Action.LICENSE_REQUIRED for path_policy in reserved):
        duties.append("compensate")
    return {
        "@context": ["http://www.w3.org/ns/odrl.jsonld", "http://www.w3.org/ns/tdmrep.jsonld"],
        "@type": "Offer",
        "profile": "http://www.w3.org/ns/tdmrep",
        "uid": _policy_url(policy),
        "assigner": _assigner(policy),
        "permission": [{"action": "tdm:mine", "duty": [{"action": duty} for duty in duties]}],
    }


def _assigner(policy: Policy) -> dict[str, str]:
    """Return the holder of the rights with a mail address and the web page that is nearest to a licence."""
    site = policy.site
    is_mail = site.contact.startswith("mailto:")
    facts = {
        "uid": ascii_uri(site.url),
        "vcard:fn": site.owner or site.name or urlsplit(site.url).hostname or site.url,
        "vcard:hasEmail": ascii_uri(site.contact) if is_mail else "",
        "vcard:hasURL": ascii_uri("" if is_mail else site.contact) or ascii_uri(site.licence) or page_address(policy),
    }
    return {name: fact for name, fact in facts.items() if fact}


def _header_fields(policy: Policy, path_policy: PathPolicy) -> Sequence[HeaderField]:
    reserved = _reserves(path_policy)
    fields: list[HeaderField] = [(b"tdm-reservation", b"1" if reserved else b"0")]
    if reserved and _policy_url(policy):
        fields.append((b"tdm-policy", _policy_url(policy).encode("ascii")))
    return fields


def _tags(policy: Policy, path_policy: PathPolicy) -> Sequence[bytes]:
    reserved = _reserves(path_policy)
    tags = [b'<meta name="tdm-reservation" content="%d">' % reserved]
    if reserved and _policy_url(policy):
        address = html.escape(_policy_url(policy)).encode("ascii")
        tags.append(b'<meta name="tdm-policy" content="' + address + b'">')
    return tags


def _limitations(policy: Policy) -> Iterator[str]:
    yield from training_only_limitations("TDMRep", policy)
    site = policy.site
    if not any(map(_reserves, policy.all_path_policies)):
        return
    if not site.url and not site.tdm_policy:
        yield "TDMRep: without an address there is no tdm-policy to say whom to ask; set site.url or site.tdm_policy."
    elif _publishes_offer(policy) and not site.contact:
        yield f"TDMRep: {POLICY_PATH} requires consent but names no contact; set site.contact."


STANDARD = Standard("tdmrep", "TDMRep", _documents, _header_fields, _tags, limitations=_limitations)
