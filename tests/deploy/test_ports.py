import os
import socket

import pytest

from deploy.local.ports import free_port, require_free
from deploy.trouble import Trouble


def test_a_free_port_is_accepted() -> None:
    require_free(free_port(), "Kafka", "KOPILKA_KAFKA_PORT")


def test_a_taken_port_is_told_with_its_holder_and_the_setting_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(Trouble) as trouble:
            require_free(port, "Kafka", "KOPILKA_KAFKA_PORT")
    told = str(trouble.value)
    assert f"port {port}" in told
    assert f"pid {os.getpid()}" in told
    assert "KOPILKA_KAFKA_PORT" in told
    assert "\n" not in told


def test_a_port_taken_on_every_address_is_taken_on_the_loopback_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as holder, pytest.raises(Trouble):
        require_free(holder.getsockname()[1], "Kafka", "KOPILKA_KAFKA_PORT")
