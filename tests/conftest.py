"""Fixtures of all tests."""

from tests.servers import server

__all__ = ["server"]
