"""KOPILKA_TEST_INFRA=containers: the same two servers out of testcontainers, for those who have Docker."""

from typing import Any, Literal

from testcontainers.core.container import DockerContainer

from deploy.local import psql
from deploy.local.kafka_answer import answers
from deploy.local.waiting import wait_until
from deploy.trouble import Trouble

KAFKA_IMAGE = "apache/kafka:4.3.1"
POSTGRES_IMAGE = "postgres:17"
START_TIMEOUT_S = 120


class _Server:
    """A container on a port of the host that stays the same through stops and starts."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self._started = False

    def start(self) -> None:
        if self._started:
            self._docker().start()
        else:
            self._container.start()
            self._started = True
        wait_until(self._answers, START_TIMEOUT_S)

    def kill(self) -> None:
        self._docker().kill()

    def _docker(self) -> Any:
        return self._container.get_wrapped_container()

    def _answers(self) -> bool:
        raise NotImplementedError


class ContainerKafka(_Server):
    def __init__(self, port: int) -> None:
        super().__init__(
            _container(KAFKA_IMAGE)
            .with_bind_ports(9092, port)
            .with_envs(
                KAFKA_NODE_ID="1",
                KAFKA_PROCESS_ROLES="broker,controller",
                KAFKA_LISTENERS="PLAINTEXT://:9092,CONTROLLER://:9093",
                KAFKA_ADVERTISED_LISTENERS=f"PLAINTEXT://127.0.0.1:{port}",
                KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
                KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
                KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
                KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
                KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
                KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
                KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
                KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS="1000",
                KAFKA_BROKER_SESSION_TIMEOUT_MS="1500",
                KAFKA_BROKER_HEARTBEAT_INTERVAL_MS="300",
            )
        )
        self._port = port

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    def stop(self) -> None:
        self._docker().stop()

    def _answers(self) -> bool:
        return answers(self._port)


class ContainerPostgres(_Server):
    def __init__(self, port: int) -> None:
        super().__init__(
            _container(POSTGRES_IMAGE)
            .with_bind_ports(5432, port)
            .with_envs(
                POSTGRES_USER="kopilka",
                POSTGRES_HOST_AUTH_METHOD="trust",
                POSTGRES_INITDB_ARGS="--encoding=UTF8 --locale=C.UTF-8",
            )
        )
        self._port = port

    def dsn(self, database: str) -> str:
        return f"postgresql://kopilka@127.0.0.1:{self._port}/{database}"

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self._docker().kill(signal={"fast": "SIGINT", "immediate": "SIGQUIT"}[mode])
        self._docker().wait()

    def ensure_database(self, name: str) -> None:
        psql.ensure_database(self.dsn("postgres"), name)

    def drop_database(self, name: str) -> None:
        psql.drop_database(self.dsn("postgres"), name)

    def _answers(self) -> bool:
        # The image's first server, the one that runs its set-up, does not listen on TCP.
        return psql.answers(self.dsn("postgres"))


def _container(image: str) -> DockerContainer:
    try:
        return DockerContainer(image)
    except Exception as error:
        raise Trouble(
            f"KOPILKA_TEST_INFRA=containers needs a running Docker ({error}); "
            f"start it, or unset the variable to test on the embedded servers"
        ) from error
