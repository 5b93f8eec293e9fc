"""The example's music site, and the guard before it, as the fixtures beside this file serve them."""

import json
import os
from pathlib import Path
from typing import Any

from examples.music_site.app import create_app, create_site
from noai_guard.config import load_policy
from noai_guard.declarations.rsl import FeedTerms

POLICY = Path(__file__).parents[2] / "examples" / "music_site" / "noai.yaml"


def guarded() -> Any:
    """The site with the middleware around it, and a record of every request around both."""
    return _written_down(create_app(POLICY, os.environ["SITE_URL"]))


def plain() -> Any:
    """The same site, its addresses too, without the guard; the terms in its feed are its own."""
    return _written_down(create_site(os.environ["SITE_URL"], terms=FeedTerms(load_policy(POLICY))))


def _written_down(app: Any) -> Any:
    """The app, with a line of JSON in the file ASKED for each request, written before the client gets an answer."""
    log = open(os.environ.get("ASKED", os.devnull), "a", buffering=1, encoding="utf-8")  # noqa: SIM115

    async def outermost(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
                query = scope["query_string"].decode("latin-1")
                asked = {
                    "method": scope["method"],
                    "target": scope["raw_path"].decode("latin-1") + (f"?{query}" if query else ""),
                    "user_agent": headers.get("user-agent", ""),
                    "range": headers.get("range", ""),
                    "status": message["status"],
                }
                log.write(json.dumps(asked) + "\n")
            await send(message)

        await app(scope, receive, sending)

    return outermost
