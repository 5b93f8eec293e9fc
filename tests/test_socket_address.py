"""Addresses of sockets: which texts are one, and how they are written back."""

import pytest

from noai_guard.socket_address import SocketAddress


@pytest.mark.parametrize(
    "text",
    ["", "80", "x", ":80", "[::1]", "a b:80", "x:99999", "unix:", "unix:relative", "http://x:80", "::1:80", "a:80\n"],
)
def test_a_text_that_is_not_an_address_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write (HOST:PORT|unix:/path)"):
        SocketAddress.parse(text)


@pytest.mark.parametrize("text", ["127.0.0.1:80", "[::1]:8080", "[fe80::1%eth0]:80", "localhost:0", "unix:/run/x.sock"])
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    assert str(SocketAddress.parse(text)) == text


def test_an_ipv6_host_has_brackets_only_beside_its_port() -> None:
    address = SocketAddress.parse("[::1]:80")
    assert (address.host, address.port, address.url_host) == ("::1", 80, "[::1]")


@pytest.mark.parametrize("text", ["a:80", "127.0.0.1:80", "[::1]:80", "unix:/run/noai-guard/gateway.sock"])
def test_plain_addresses_need_no_quotes_in_a_configuration(text: str) -> None:
    assert SocketAddress.parse(text).needs_no_quotes


@pytest.mark.parametrize("text", ["a;b:80", "$x:80", "[fe80::1%eth0]:80", "unix:/a b", "unix:/a;", 'unix:/"'])
def test_an_address_with_characters_that_mean_something_needs_quotes(text: str) -> None:
    assert not SocketAddress.parse(text).needs_no_quotes
