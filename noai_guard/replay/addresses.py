"""Which text of a line is the address of the client: proxies write their own, and their names, beside it."""

import re

from noai_guard.core.address_headers import parse_node

PRIVATE = ("10.", "127.", "192.168.", "172.17.", "172.18.", "::1")
"""Beginnings of addresses that proxies of a site usually have, those of Docker among them."""

_LABEL = re.compile(r"[A-Za-z_]+=")

OF_A_LIST = "the first of the addresses in X-Forwarded-For counts, and that the client may have written itself"
"""What a log says of clients in which proxies list addresses."""


def likelihood(text: str) -> int:
    """Return how likely a text is the address of a client, or a list that begins with it: 2 for a public address, 1 for
    a private one, 0 for anything else."""
    first = _LABEL.sub("", text.strip('"[]()'), count=1).strip('"').partition(",")[0]
    if parse_node(first).address is None:
        return 0
    return 1 if first.startswith(PRIVATE) else 2
