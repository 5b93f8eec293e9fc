"""Replay: what a policy would have done about yesterday's requests, from the access logs of any server."""
