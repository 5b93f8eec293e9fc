# __HEADER_COMMENT__
# On top of your VCL: vcl 4.1; include "noai-guard.vcl"; Your subs of the same names come behind ours.
import std;
backend noai_gateway {
    __GATEWAY__
    .connect_timeout = 0.3s;
    .first_byte_timeout = 0.5s;
    .between_bytes_timeout = 0.5s;
}
sub vcl_recv {
    if (req.restarts == 0 && req.esi_level == 0) {
        __SPOOFABLE__
        unset req.http.X-NoAI-Step;
        __UNSET_DECLARED__
        if (req.url ~ "^(?:__DOCUMENTS__)(?:\?|$)" && (req.method == "GET" || req.method == "HEAD")) {
            set req.backend_hint = noai_gateway;
            return (pass);
        }
        __CLEARED__
        set req.http.X-Original-URI = req.url;
        set req.http.X-Original-Method = req.method;
        set req.http.X-Original-Host = req.http.Host;
        __CLIENT_ADDRESS__
        if (req.http.Transfer-Encoding || std.integer(req.http.Content-Length, 0) > __MAX_BODY__) {
            if (req.method == "GET" || req.method == "HEAD") { return (synth(413, "Content Too Large")); }
            __UNASKED__
        } else if (req.http.Content-Length) {
            std.cache_req_body(__MAX_BODY__B);
        }
        if (req.http.X-NoAI-Step != "not asked") {
            set req.http.X-NoAI-Step = "asking";
            set req.url = "__VERIFY__";
            set req.backend_hint = noai_gateway;
            return (pass);
        }
    }
    if (req.http.X-NoAI-Step == "asking") {
        set req.url = req.http.X-Original-URI;
        set req.backend_hint = default;
        set req.http.X-NoAI-Step = "answered";
    }
    unset req.http.X-Original-Uri;
    unset req.http.X-Original-Method;
    unset req.http.X-Original-Host;
}
sub vcl_backend_fetch {
    if (bereq.http.X-NoAI-Step == "asking") {
        set bereq.method = "GET";
    }
    if (bereq.backend == noai_gateway) {
        # Asked before the look-up, so this Varnish is no cache that the gateway has to warn of.
        unset bereq.http.X-Varnish;
        unset bereq.http.Via;
    }
    unset bereq.http.X-NoAI-Step;
    __UNSET_DECLARED_FETCH__
}
sub vcl_backend_response {
    if (beresp.backend == noai_gateway) {
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
        return (deliver);
    }
}
sub vcl_backend_error {
    if (bereq.http.X-NoAI-Step == "asking") { return (deliver); }
}
sub vcl_deliver {
    if (req.http.X-NoAI-Step == "asking") {
        if (resp.status >= 200 && resp.status < 300) {
            __VERDICT__
            return (restart);
        }
        if (resp.status >= 500 || resp.status == 404 || resp.status == 405) {
            __UNANSWERED__
        }
        return (deliver);
    }
    __DECLARED__
}
__SYNTH__
