"""429 Too Many Requests: Retry-After is the number of seconds to wait."""

from noai_guard.responses.refusal import RefusalTemplate

TEMPLATE = RefusalTemplate(
    429,
    "Too many requests",
    "{client} sends more requests{purpose} than are allowed, and may come again in {wait}{rule}",
    lambda verdict, policy: [(b"retry-after", b"%d" % max(1, verdict.retry_after))],
)
