import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from deploy.local.kafka import EmbeddedKafka
from deploy.local.ports import free_port
from deploy.local.waiting import wait_until
from deploy.trouble import Trouble

HOLDER = """
import sys
from pathlib import Path
from deploy.local.kafka import EmbeddedKafka
kafka = EmbeddedKafka(Path(sys.argv[1]), int(sys.argv[2]))
kafka.start()
print(kafka.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    kafka = EmbeddedKafka(tmp_path / "kafka", free_port())
    yield kafka
    kafka.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """For tests that stop nothing."""
    kafka = EmbeddedKafka(tmp_path_factory.mktemp("kafka"), free_port())
    kafka.start()
    yield kafka
    kafka.kill()


async def provision(kafka: EmbeddedKafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


async def publish(kafka: EmbeddedKafka, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def read(kafka: EmbeddedKafka, topic: str, count: int, **settings: object) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, **settings) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        return [(await consumer.getone()).value for _ in range(count)]


async def test_a_stopped_and_a_killed_broker_come_back_with_their_records(embedded: EmbeddedKafka) -> None:
    embedded.start()
    await provision(embedded, "pos.purchases")
    await publish(embedded, "pos.purchases", b"one")
    embedded.stop()
    assert not embedded.running
    embedded.start()
    await publish(embedded, "pos.purchases", b"two")
    embedded.kill()
    embedded.start()
    assert await read(embedded, "pos.purchases", 2) == [b"one", b"two"]


async def test_transactions_work_on_the_single_node(running: EmbeddedKafka) -> None:
    await provision(running, "loyalty.events")
    async with AIOKafkaProducer(bootstrap_servers=running.bootstrap, transactional_id="relay") as producer:
        async with producer.transaction():
            await producer.send_and_wait("loyalty.events", b"committed")
        with pytest.raises(RuntimeError):
            async with producer.transaction():
                await producer.send_and_wait("loyalty.events", b"aborted")
                raise RuntimeError
        async with producer.transaction():
            await producer.send_and_wait("loyalty.events", b"committed too")
    committed = await read(running, "loyalty.events", 2, isolation_level="read_committed")
    assert committed == [b"committed", b"committed too"]


async def test_a_topic_is_never_made_by_a_typing_error(running: EmbeddedKafka) -> None:
    async with AIOKafkaProducer(bootstrap_servers=running.bootstrap, request_timeout_ms=1000) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("pos.purchsaes", b"")


def test_the_broker_dies_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "kafka"), str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    broker = psutil.Process(int(holder.stdout.readline()))
    holder.kill()
    holder.communicate()
    wait_until(lambda: not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE, 10)


def test_a_broker_that_does_not_come_up_is_told_with_the_end_of_its_log(
    embedded: EmbeddedKafka,
) -> None:
    (embedded.home / "data").mkdir(parents=True)
    (embedded.home / "data" / "meta.properties").write_text("cluster.id=other\n")
    with pytest.raises(Trouble, match=r"(?s)Kafka ended while starting.*node ID not found"):
        embedded.start()
    assert not embedded.running


def test_a_taken_port_is_told_before_anything_is_started(embedded: EmbeddedKafka) -> None:
    with (
        socket.create_server(("127.0.0.1", embedded.port)),
        pytest.raises(Trouble, match="KOPILKA_KAFKA_PORT"),
    ):
        embedded.start()


def test_a_controller_port_that_was_taken_meanwhile_is_replaced(embedded: EmbeddedKafka) -> None:
    embedded.start()
    embedded.stop()
    kept = int((embedded.home / "controller.port").read_text())
    with socket.create_server(("127.0.0.1", kept)):
        embedded.start()
    assert embedded.running


def test_a_broker_listens_on_the_loopback_only(running: EmbeddedKafka) -> None:
    listening = psutil.Process(running.pid).net_connections("tcp")
    addresses = {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN}
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_ctrl_c_in_the_terminal_does_not_reach_the_broker(running: EmbeddedKafka) -> None:
    assert os.getpgid(running.pid) != os.getpgid(0)
