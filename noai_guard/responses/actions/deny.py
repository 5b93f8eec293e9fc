"""403 Forbidden: the client may not fetch this, and repeating the request changes nothing."""

from noai_guard.responses.refusal import RefusalTemplate

TEMPLATE = RefusalTemplate(403, "Not allowed", "{client} is not allowed to fetch this{purpose}{rule}")
