"""Ports of the servers that tests start."""

import socket

from tests.servers import free_port


def test_a_port_is_not_given_again_soon_and_is_none_that_the_system_gives_away() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert max(ports) < 32_768


def test_a_port_on_which_somebody_listens_is_not_given() -> None:
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken)):
        assert taken not in {free_port() for _ in range(199)}
