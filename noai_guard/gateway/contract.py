"""The contract between a proxy and the gateway: paths, header names, statuses (docs/reference/gateway.md)."""

VERIFY = "/.noai/verify"
"""Asked before each request: 200 lets it in; 402, 403 and 429 are the refusal, complete; 503 is no verdict."""

VERIFY_NGINX = "/.noai/verify-nginx-401"
"""The same for `auth_request`, which passes on 401 and 403 alone: 204, 401 with X-NoAI-Status, or 503. With 401, the
error_page that fetches the refusal leaves the site's own page for 403 alone."""

AUTH_REQUEST = {"/.noai/verify-nginx": 403, VERIFY_NGINX: 401}
"""Path -> the status that stands for a refusal there. The first was in the configuration that we wrote to 2026-11."""

ANSWER = "/.noai/answer"
"""The refusal that X-NoAI-Status stands for, for `error_page`. Never lets anything in."""

HEALTH = "/.noai/health"
READY = "/.noai/ready"
METRICS = ("/metrics", "/metrics/")

URI = ("x-original-uri", "x-original-url", "x-forwarded-uri")
"""Headers for the request target: nginx, ingress-nginx, Traefik and Caddy. Envoy appends it to VERIFY."""

METHOD = ("x-original-method", "x-forwarded-method")
HOST = ("x-original-host", "x-forwarded-host")

SOURCES = (*URI, *METHOD, *HOST)
"""Headers that the gateway believes from a trusted proxy beside the client's address. A proxy sets or removes each."""

SIGNATURE_AGENT = "signature-agent"

READ = (
    *("user-agent", "accept", "range", "icy-metadata", "sec-fetch-dest", "x-requested-with"),
    *("signature", "signature-input", SIGNATURE_AGENT),
)
"""The client's own headers that a verdict or the format of a refusal may depend on."""

AUTHORIZATION = "authorization"
"""Holds the key of a partner. It is the gateway's business only if a partner has one: else it may be a password."""

CDN = ("akamai-origin-hop", "cdn-loop", "cdn-serverid", "cf-ray", "fastly-ff", "x-amz-cf-id")
"""Headers by which a CDN before the proxy makes itself known, so that the gateway can warn of its cache."""

STATUS = "x-noai-status"

VERDICT = ("x-noai-verdict", "x-noai-mode", "x-noai-agent", "x-noai-rule")
"""Headers that a proxy passes on to the site, and removes from the client's own request."""

REASON = "x-noai-reason"
KEY = "x-noai-key"
