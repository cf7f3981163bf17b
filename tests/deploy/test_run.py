import contextlib
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.settings import SERVICES
from tests.deploy.running_house import House, alive, wait_until
from tests.infra import Kafka, Postgres

pytestmark = pytest.mark.timeout(600)
STOP_S = 10.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The tests below are one story, told in their order."""
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    house.end()


@pytest.fixture(scope="module")
def buyers() -> set[str]:
    """Customers of whom the story knows that loyalty has credited them."""
    return set()


def credited(house: House) -> bool:
    """Whether loyalty has published balances since it was started: of purchases that were credited."""
    metrics = httpx.get(f"http://127.0.0.1:{house.ports['loyalty']}/metrics", timeout=20).text
    return (
        re.search(r'^kopilka_records_published_total\{.*topic="loyalty\.balances"\}', metrics, re.MULTILINE) is not None
    )


def test_one_command_brings_up_the_whole_house(house: House) -> None:
    house.start("--rate", "20")
    house.wait_until_ready()
    status = house.kopilka("status")
    assert status.returncode == 0, status.stdout
    assert [part for part in ("kafka", "postgres", *SERVICES) if f"{part} " not in status.stdout] == []


def test_real_receipts_become_points(house: House, buyers: set[str]) -> None:
    wait_until(lambda: credited(house))
    balances = house.kopilka("tail", "loyalty.balances", "--no-follow", "--json").stdout.splitlines()
    buyers.update(json.loads(line)["key"] for line in balances)
    assert buyers
    topics = house.kopilka("topics").stdout
    assert re.search(r"^loyalty\.balances +\d+ +[\d\u202f]+", topics, re.MULTILINE)
    (customer,) = house.get("customers", "/customers?limit=1")["items"]
    told = house.kopilka("customer", customer["phone"])
    assert told.returncode == 0, told.stderr
    assert customer["id"] in told.stdout


def listening_of(process: psutil.Process) -> list[Any]:
    """A session of PostgreSQL may have ended since it was seen."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [each for each in process.net_connections("tcp") if each.status == "LISTEN"]
    return []


def test_everything_listens_on_the_loopback_only(house: House) -> None:
    listening = [each for process in house.family() for each in listening_of(process)]
    assert len(listening) >= len(house.ports)
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_a_service_that_dies_is_told_and_started_again(house: House) -> None:
    house.said.clear()
    house.program("services.loyalty").kill()
    house.wait_for("loyalty ended with code -9, starts again in 1 s", timeout_s=30)
    house.wait_for("loyalty: ready")


def test_a_server_that_dies_is_told_and_started_again(house: House) -> None:
    house.said.clear()
    house.program("kafka.Kafka").kill()
    house.wait_for("kafka ended by itself; starting it again", timeout_s=30)
    house.wait_for("kafka: ready")


def test_a_second_house_in_the_same_folder_is_refused_in_one_line(house: House) -> None:
    told = house.kopilka("run")
    assert told.returncode == 1
    assert re.fullmatch(rf"kopilka: Kopilka runs already in .* \(pid {house.process.pid}\).*\n", told.stderr)


def test_ctrl_c_stops_everything_in_time_and_leaves_no_process(house: House) -> None:
    family = house.family()
    took_s = house.ctrl_c()
    assert house.process.returncode == 0
    assert took_s <= STOP_S
    wait_until(lambda: not alive(family), timeout_s=5)


def test_a_second_run_goes_on_with_the_data(house: House, buyers: set[str]) -> None:
    house.start()
    house.wait_until_ready()
    for customer_id in buyers:
        assert house.get("loyalty", f"/customers/{customer_id}/balance")["accounts"]


def test_nothing_outlives_a_supervisor_that_is_killed(house: House) -> None:
    family = house.family()
    assert len(family) > len(SERVICES)
    house.process.send_signal(signal.SIGKILL)
    house.process.wait()
    wait_until(lambda: not alive(family), timeout_s=20)


@pytest.mark.long  # test_home.py sees what is wiped
def test_a_fresh_start_begins_with_nothing(house: House) -> None:
    assert (house.home / "kafka").exists()
    house.start("--fresh", "--no-sandbox")
    house.wait_until_ready()
    assert house.get("customers", "/customers?limit=1")["items"] == []
    house.ctrl_c()


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    with socket.create_server(("127.0.0.1", house.ports["loyalty"])):
        told = house.kopilka("run")
    assert told.returncode == 1
    assert re.fullmatch(rf"kopilka: loyalty: port {house.ports['loyalty']} .*KOPILKA_LOYALTY_PORT=PORT\n", told.stderr)
    assert told.stdout == ""
    assert not (tmp_path / "house" / "kafka").exists()


def test_a_malformed_setting_is_named(tmp_path: Path) -> None:
    told = House(tmp_path / "house", KOPILKA_CHAT_PORT="http").kopilka("run")
    assert told.returncode == 1
    assert told.stderr.startswith("kopilka: KOPILKA_CHAT_PORT: ")
    assert len(told.stderr.splitlines()) == 1


def test_a_fresh_start_is_refused_where_the_servers_are_not_ours_to_wipe(tmp_path: Path) -> None:
    told = House(tmp_path / "house", KOPILKA_KAFKA="127.0.0.1:9092").kopilka("run", "--fresh")
    assert told.returncode == 1
    assert "unset KOPILKA_KAFKA and KOPILKA_DATABASE" in told.stderr


def test_a_kafka_of_ones_own_that_does_not_answer_is_told(tmp_path: Path) -> None:
    told = House(tmp_path / "house", KOPILKA_KAFKA="127.0.0.1:1").kopilka("run")
    assert told.returncode == 1
    assert told.stderr.startswith("kopilka: Kafka at 127.0.0.1:1: ")
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.long
def test_servers_of_ones_own_take_the_place_of_the_embedded_ones(
    kafka: Kafka, postgres: Postgres, tmp_path: Path
) -> None:
    house = House(
        tmp_path / "house",
        KOPILKA_KAFKA=kafka.bootstrap,
        KOPILKA_DATABASE=postgres.dsn("postgres"),
        KOPILKA_DATABASE_PREFIX="own_",
    )
    try:
        house.start("--no-sandbox")
        house.wait_until_ready()
        assert not (house.home / "kafka").exists()
        assert not (house.home / "postgres").exists()
        family = house.family()
        assert house.ctrl_c() <= STOP_S
        wait_until(lambda: not alive(family), timeout_s=5)
    finally:
        house.end()
        for service in SERVICES:
            postgres.drop_database(f"own_{service}")
