"""ASGI and WSGI middleware, and the runtime that every driver uses."""
