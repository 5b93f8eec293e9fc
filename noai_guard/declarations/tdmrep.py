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

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, Document, HeaderField, PathPolicy, Usage
from noai_guard.core.path_patterns import pattern_to_robots
from noai_guard.core.policy import Policy
from noai_guard.core.site_addresses import ascii_uri, document_address, page_address
from noai_guard.core.uses import Notice
from noai_guard.declarations.shared import robots_patterns
from noai_guard.declarations.shared.standard import Standard, training_only_limitations

PATH = "/.well-known/tdmrep.json"
POLICY_PATH = "/tdm-policy.json"


def _publishes_offer(policy: Policy) -> bool:
    """Return True if we publish the policy document. It needs an absolute address, so the site must have a `url`."""
    return bool(policy.site.url) and not policy.site.tdm_policy and policy.reserves(Usage.TRAIN_AI)


def reservation_of(policy: Policy, path_policy: PathPolicy) -> dict[str, int | str]:
    """Return `tdm-reservation`, and `tdm-policy` if something is reserved and the policy has an address."""
    if not path_policy.reserves(Usage.TRAIN_AI):
        return {"tdm-reservation": 0}
    site = policy.site
    url = document_address(site, POLICY_PATH) if _publishes_offer(policy) else ascii_uri(site.tdm_policy)
    return {"tdm-reservation": 1, "tdm-policy": url} if url else {"tdm-reservation": 1}


def _documents(table: DecisionTable) -> Sequence[Document]:
    policy = table.policy
    reserved = [path_policy for path_policy in table.path_policies if path_policy.reserves(Usage.TRAIN_AI)]
    if not reserved:
        return ()
    entries = [*robots_patterns.path_policies(policy), ("/", policy.whole_site)]
    if len(reserved) < len(table.path_policies):
        # The file must not say 0 for reserved paths: a pattern without an exact equivalent is covered by a wider
        # one. The header field of a response takes precedence over the file.
        inexact = (path_policy for path_policy in reserved if pattern_to_robots(path_policy.pattern) is None)
        wider = [(robots_patterns.covering(path_policy.pattern), path_policy) for path_policy in inexact]
        entries = [*wider, *entries]
    contents: dict[str, Any] = {
        PATH: [{"location": pattern, **reservation_of(policy, path_policy)} for pattern, path_policy in entries]
    }
    if _publishes_offer(policy):
        contents[POLICY_PATH] = _offer(policy, reserved)
    return [
        Document(path, "application/json", json.dumps(content, indent=1).encode() + b"\n")
        for path, content in contents.items()
    ]


def _offer(policy: Policy, reserved: Sequence[PathPolicy]) -> dict[str, Any]:
    """Return an Offer in the profile of ODRL 2.2 that TDMRep defines: one assigner, one permission, no prohibition."""
    duties = ["obtainConsent"]
    if all(path_policy.usages[Usage.TRAIN_AI] is Action.LICENSE_REQUIRED for path_policy in reserved):
        duties.append("compensate")
    site = policy.site
    is_mail = site.contact.startswith("mailto:")
    assigner = {
        "uid": ascii_uri(site.url),
        "vcard:fn": site.owner or site.name or urlsplit(site.url).hostname or site.url,
        "vcard:hasEmail": ascii_uri(site.contact) if is_mail else "",
        # The page that is nearest to a licence.
        "vcard:hasURL": ascii_uri("" if is_mail else site.contact) or ascii_uri(site.licence) or page_address(policy),
    }
    offer = {
        "@context": ["http://www.w3.org/ns/odrl.jsonld", "http://www.w3.org/ns/tdmrep.jsonld"],
        "@type": "Offer",
        "profile": "http://www.w3.org/ns/tdmrep",
        "uid": document_address(site, POLICY_PATH),
        "assigner": {name: fact for name, fact in assigner.items() if fact},
        "permission": [{"action": "tdm:mine", "duty": [{"action": duty} for duty in duties]}],
    }
    # ODRL Information Model 2.2, 2.8: text for people stands in dc:description, as often as is needed.
    return offer | ({"dc:description": [*map(_description, policy.notices)]} if policy.notices else {})


def _description(notice: Notice) -> str | dict[str, str]:
    return {"@value": notice.attributed, "@language": notice.lang} if notice.lang else notice.attributed


def _header_fields(policy: Policy, path_policy: PathPolicy) -> Sequence[HeaderField]:
    properties = reservation_of(policy, path_policy).items()
    return [(name.encode("ascii"), str(value).encode("ascii")) for name, value in properties]


def _tags(policy: Policy, path_policy: PathPolicy) -> Sequence[bytes]:
    properties = reservation_of(policy, path_policy).items()
    return [f'<meta name="{name}" content="{html.escape(str(value))}">'.encode("ascii") for name, value in properties]


def _limitations(policy: Policy) -> Iterator[str]:
    yield from training_only_limitations("TDMRep", policy)
    site = policy.site
    if policy.notices and not _publishes_offer(policy):
        yield f"TDMRep: notices are not declared, because there is no {POLICY_PATH} of ours."
    if not policy.reserves(Usage.TRAIN_AI):
        return
    if not site.url and not site.tdm_policy:
        yield "TDMRep: without an address there is no tdm-policy to say whom to ask; set site.url or site.tdm_policy."
    elif _publishes_offer(policy) and not site.contact:
        yield f"TDMRep: {POLICY_PATH} requires consent but names no contact; set site.contact."


STANDARD = Standard("tdmrep", "TDMRep", _documents, _header_fields, _tags, limitations=_limitations)
