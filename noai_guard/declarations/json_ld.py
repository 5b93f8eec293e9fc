"""schema.org in JSON-LD: the reservation for an app's own MusicRecording or AudioObject.

schema.org has no property that means "no AI". `usageInfo` links to the policy, `copyrightNotice` reserves in words,
`license` and `acquireLicensePage` link to a licence. An app calls these functions itself; nothing is injected.
"""

import json
from collections.abc import Mapping
from typing import Any

from noai_guard.core.isrc import isrc as isrc_of
from noai_guard.core.model import PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.core.site_addresses import ascii_uri, page_address


def reservation(policy: Policy, path_policy: PathPolicy | None = None) -> dict[str, str]:
    """Return properties of a CreativeWork for the app's own object, for a path policy or else the whole site.

    These are `license`, `usageInfo`, `acquireLicensePage` and `copyrightNotice`, each only if the policy has it.
    Empty if nothing is reserved.
    """
    path_policy = path_policy or policy.whole_site
    if not path_policy.reserves_anything:
        return {}
    site = policy.site
    contact_page = "" if site.contact.startswith("mailto:") else site.contact
    notice = "Text and data mining and AI training are reserved (Article 4(3) of Directive (EU) 2019/790)."
    if site.owner:
        notice = f"© {site.owner}. {notice}"
    properties = {
        "license": ascii_uri(site.licence),
        "usageInfo": page_address(policy),
        "acquireLicensePage": ascii_uri(contact_page or site.licence),
        "copyrightNotice": notice if path_policy.reserves(Usage.TRAIN_AI) else "",
    }
    return {name: value for name, value in properties.items() if value}


def recording(
    policy: Policy, path_policy: PathPolicy | None = None, *, name: str = "", isrc: str = ""
) -> dict[str, str]:
    """Return a MusicRecording with its reservation.

    `path_policy` is that of the verdict on a request for the work (`Verdict.path_policy`), in which the wishes of its
    creator count. Raises ValueError for an `isrc` that is none; hyphens are accepted.
    """
    code = isrc_of(isrc) if isrc else ""
    if code is None:
        raise ValueError(f"{isrc!r} is no ISRC")
    facts = {"@type": "MusicRecording", "name": name, "isrcCode": code, **reservation(policy, path_policy)}
    return {key: value for key, value in facts.items() if value}


def script(data: Mapping[str, Any]) -> str:
    """Return `data` as a `<script type="application/ld+json">`, escaped so that no text in it can end the element."""
    text = json.dumps({"@context": "https://schema.org", **data})
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/ld+json">{text}</script>'
