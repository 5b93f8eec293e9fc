"""Types of command line values that several commands share."""

from typing import Any

import click

from noai_guard.socket_address import SocketAddress


class _SocketAddressType(click.ParamType[SocketAddress]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SocketAddress:
        if isinstance(value, SocketAddress):
            return value
        try:
            return SocketAddress.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SOCKET_ADDRESS = _SocketAddressType()
"""`HOST:PORT`, `[IPv6]:PORT` or `unix:/path`."""
