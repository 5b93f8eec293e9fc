# __HEADER_COMMENT__
# On top of your VCL: vcl 4.1; include "noai-guard.vcl"; Your subs of the same names come behind ours.
__NOT_ASKED_ABOUT__
import std;
# While it fails, nobody waits for the gateway.
probe noai_alive {
    .url = "__HEALTH__";
    .interval = 1s;
    .timeout = 0.5s;
    .window = 3;
    .threshold = 2;
    .initial = 3;
}
backend noai_gateway {
    __GATEWAY__
    .probe = noai_alive;
    .connect_timeout = 0.3s;
    .first_byte_timeout = 0.5s;
    .between_bytes_timeout = 0.5s;
}
# The same; a request that has it as its backend is a question.
backend noai_question {
    __GATEWAY__
    .probe = noai_alive;
    .connect_timeout = 0.3s;
    .first_byte_timeout = 0.5s;
    .between_bytes_timeout = 0.5s;
}
sub vcl_recv {
    if (req.restarts == 0 && req.esi_level == 0) {
        __SPOOFABLE__
        unset req.http.X-NoAI-Kept;
        __STRIPPED__
        if (req.url ~ "^(?:__DOCUMENTS__)(?:\?|$)" && (req.method == "GET" || req.method == "HEAD")) {
            set req.backend_hint = noai_gateway;
            return (pass);
        }
        __SUSPECTS__
        if (req.http.Transfer-Encoding || std.integer(req.http.Content-Length, 0) > __MAX_BODY__) {
            if (req.method == "GET" || req.method == "HEAD") { return (synth(413, "Content Too Large")); }
            set req.backend_hint = noai_question;
            __UNANSWERED__
            set req.backend_hint = default;
        } else {
            if (req.http.Content-Length) { std.cache_req_body(__MAX_BODY__B); }
            set req.backend_hint = noai_question;
            return (pass);
        }
    } else if (req.backend_hint == noai_question) {
        set req.backend_hint = default;
    }
}
sub vcl_backend_fetch {
    if (bereq.backend == noai_question) {
        __CLEARED__
        unset bereq.http.Cookie;
        __NO_AUTHORIZATION__
        unset bereq.http.Accept-Encoding;
        set bereq.http.X-Original-URI = bereq.url;
        if (bereq.method != "GET") { set bereq.http.X-Original-Method = bereq.method; }
        __CLIENT_ADDRESS__
        set bereq.url = "__VERIFY__";
        set bereq.method = "GET";
    } else {
        call noai_pass_on;
    }
    if (bereq.backend == noai_gateway || bereq.backend == noai_question) {
        # Asked before the look-up, so this Varnish is no cache that the gateway has to warn of.
        unset bereq.http.X-Varnish;
        unset bereq.http.Via;
    }
}
sub vcl_pipe {
    call noai_pass_on;
}
# The site gets the verdict, as far as there is room: regsub fails once a header did not fit.
sub noai_pass_on {
    if (bereq.http.X-NoAI-Kept && bereq.http.X-Varnish__UNLESS_UNASKED__) {
        __VERDICT__
    }
    unset bereq.http.X-NoAI-Kept;
}
sub vcl_backend_response {
    if (beresp.backend == noai_gateway || beresp.backend == noai_question) {
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
        return (deliver);
    }
}
sub vcl_backend_error {
    if (bereq.backend == noai_question) { return (deliver); }
}
sub vcl_deliver {
    if (req.backend_hint == noai_question) {
        if (resp.status >= 200 && resp.status < 300) {
            # One header for all, because Varnish has room for 64. A tab stands in none of the values.
            __NEVER_PIPED__
            if (!req.http.Upgrade) { unset req.http.Connection; }
            set req.http.X-NoAI-Kept = __KEPT__;
            return (restart);
        }
        if (resp.status == 402 || resp.status == 403 || resp.status == 429) { return (deliver); }
        __UNANSWERED__
        return (restart);
    }
    if (req.backend_hint == noai_gateway && resp.status >= 500) { return (synth(200)); }
    __DECLARED__
}
# Documents while the gateway does not answer.
include "__ROOT__/noai-guard-documents.vcl";
sub vcl_synth {
    if (req.backend_hint == noai_question && resp.status == 403) {
        set resp.http.Content-Type = "text/plain";
        set resp.http.Cache-Control = "no-store";
        set resp.body = "Forbidden";
        return (deliver);
    }
}
