import socket

from kb.local.ports import HOST, RANGE, choose_port, is_free


def listen(port: int = 0) -> socket.socket:
    return socket.create_server((HOST, port))


def test_a_listened_port_is_not_free() -> None:
    with listen() as server:
        assert not is_free(server.getsockname()[1])


def test_a_remembered_port_is_chosen_again() -> None:
    port = choose_port(None)
    assert port in RANGE
    assert choose_port(port) == port


def test_a_remembered_port_that_is_in_use_is_not_chosen() -> None:
    with listen() as server:
        assert choose_port(server.getsockname()[1]) in RANGE


def test_a_port_taken_by_a_service_not_started_yet_is_not_chosen() -> None:
    port = choose_port(None)
    assert choose_port(port, taken=[port]) != port
