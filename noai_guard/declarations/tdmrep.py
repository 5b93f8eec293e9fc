"""TDM Reservation Protocol (W3C Community Group Final): /.well-known/tdmrep.json, headers and metas.

The first matching entry of the file counts, so the longest path comes first. It has one bit: reserved or not;
training is what it is about, so a section reserves when it reserves `train-ai`.
"""

import html
import json
from collections.abc import Sequence
from typing import Any

from noai_guard.declarations.path_lines import by_section, covering
from noai_guard.declarations.standard import Standard
from noai_guard.model import Document, HeaderField, Usage
from noai_guard.policy import Plan, Policy, Section
from noai_guard.refusal import ascii_uri
from noai_guard.request_path import glob_to_robots

PATH = "/.well-known/tdmrep.json"


def _entry(location: str, policy: Policy, section: Section) -> dict[str, Any]:
    reserved = section.reserves(Usage.TRAIN_AI)
    entry: dict[str, Any] = {"location": location, "tdm-reservation": int(reserved)}
    if reserved and policy.site.tdm_policy:
        entry["tdm-policy"] = ascii_uri(policy.site.tdm_policy)
    return entry


def _documents(plan: Plan) -> Sequence[Document]:
    policy = plan.policy
    reserved = [section for section in plan.sections if section.reserves(Usage.TRAIN_AI)]
    if not reserved:
        return ()
    lines = [*by_section(policy), ("/", policy.whole_site)]
    if len(reserved) < len(plan.sections):
        # The file must not say 0 of what is reserved: a pattern that it cannot say exactly is covered by a wider
        # one. A header field of a response comes later and counts more.
        wider = [
            (covering(section.pattern), section)
            for section in reserved
            if glob_to_robots(section.pattern) is None
        ]
        lines = [*wider, *lines]
    entries = [_entry(line, policy, section) for line, section in lines]
    return (Document(PATH, "application/json", json.dumps(entries, indent=1).encode() + b"\n"),)


def _header_fields(policy: Policy, section: Section) -> Sequence[HeaderField]:
    reserved = section.reserves(Usage.TRAIN_AI)
    fields: list[HeaderField] = [(b"tdm-reservation", b"1" if reserved else b"0")]
    if reserved and policy.site.tdm_policy:
        fields.append((b"tdm-policy", ascii_uri(policy.site.tdm_policy).encode("ascii")))
    return fields


def _tags(policy: Policy, section: Section) -> Sequence[bytes]:
    reserved = section.reserves(Usage.TRAIN_AI)
    tags = [b'<meta name="tdm-reservation" content="%d">' % reserved]
    if reserved and policy.site.tdm_policy:
        address = html.escape(ascii_uri(policy.site.tdm_policy)).encode("ascii")
        tags.append(b'<meta name="tdm-policy" content="' + address + b'">')
    return tags


STANDARD = Standard("tdmrep", "TDMRep", _documents, _header_fields, _tags)
