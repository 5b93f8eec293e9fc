"""What a proxy and the gateway have agreed on: paths, header names, statuses. docs/reference/gateway.md explains it."""

VERIFY = "/.noai/verify"
"""Asked before each request: 200 lets it in; 402, 403 and 429 are the refusal, complete; 503 is no verdict."""

VERIFY_NGINX = "/.noai/verify-nginx"
"""The same for `auth_request`: 204, 403 with X-NoAI-Status, or 503."""

ANSWER = "/.noai/answer"
"""The refusal that X-NoAI-Status stands for, for `error_page`. Never lets anything in."""

HEALTH = "/.noai/health"
READY = "/.noai/ready"
METRICS = "/metrics"

URI = ("x-original-uri", "x-original-url", "x-forwarded-uri")
"""Where a proxy says what was asked for: nginx, ingress-nginx, Traefik and Caddy. Envoy appends it to VERIFY."""

METHOD = ("x-original-method", "x-forwarded-method")
HOST = ("x-original-host", "x-forwarded-host")

SOURCES = (*URI, *METHOD, *HOST)
"""All that the gateway believes of a trusted proxy beside the client's address: a proxy sets it or takes it away."""

READ = (
    *("user-agent", "accept", "range", "icy-metadata", "sec-fetch-dest", "x-requested-with"),
    *("signature", "signature-input", "signature-agent"),
)
"""Of a client's own headers, all that a verdict or the format of a refusal may depend on."""

STATUS = "x-noai-status"

VERDICT = ("x-noai-verdict", "x-noai-mode", "x-noai-agent", "x-noai-rule")
"""What a proxy passes on to the site, and takes away from the client's own request."""

REASON = "x-noai-reason"
KEY = "x-noai-key"
