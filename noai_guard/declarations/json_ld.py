"""schema.org in JSON-LD: the reservation for an app's own MusicRecording or AudioObject.

schema.org has no property that means "no AI". `usageInfo` leads to the policy, `copyrightNotice` reserves in words,
`license` and `acquireLicensePage` say where a licence is. An app calls this itself; nothing is injected.
"""

import json
from collections.abc import Mapping
from typing import Any

from noai_guard.core.model import Usage
from noai_guard.core.policy import PathPolicy, Policy
from noai_guard.core.site_addresses import ascii_uri, page_address


def reservation(policy: Policy, path_policy: PathPolicy | None = None) -> dict[str, str]:
    """Properties of a CreativeWork for a section (without one, the whole site) to put into an app's own object.

    `license`, `usageInfo`, `acquireLicensePage` and `copyrightNotice`, each only where the policy knows it; empty
    where the section reserves nothing.
    """
    path_policy = path_policy or policy.whole_site
    if not path_policy.reserves_anything:
        return {}
    site = policy.site
    asked_on_the_web = "" if site.contact.startswith("mailto:") else site.contact
    found = {
        "license": ascii_uri(site.licence),
        "usageInfo": page_address(policy),
        "acquireLicensePage": ascii_uri(asked_on_the_web or site.licence),
        "copyrightNotice": _notice(policy, path_policy),
    }
    return {name: value for name, value in found.items() if value}


def _notice(policy: Policy, path_policy: PathPolicy) -> str:
    if not path_policy.reserves(Usage.TRAIN_AI):
        return ""
    owner = f"© {policy.site.owner}. " if policy.site.owner else ""
    return f"{owner}Text and data mining and AI training are reserved (Article 4(3) of Directive (EU) 2019/790)."


def script(data: Mapping[str, Any]) -> str:
    """A `<script type="application/ld+json">` with this object, which no text in it can end."""
    text = json.dumps({"@context": "https://schema.org", **data})
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/ld+json">{text}</script>'
