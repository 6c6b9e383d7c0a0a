"""An Apicurio Registry, whose schemas are a topic of Kafka's, on loopback."""

from pathlib import Path
from typing import Final

from infra.embedded.jars import cache_folder, locked, unpacked
from infra.embedded.java import flags, java
from infra.processes import LOOPBACK
from infra.supervisor import Program, answers

HEAP_MB: Final = 256


class EmbeddedRegistry:
    """One registry; its Confluent-compatible API is at `url`."""

    def __init__(
        self, bootstrap: str, port: int, management_port: int, java_home: Path | None = None
    ) -> None:
        self.port, self.management_port = port, management_port
        self._bootstrap = bootstrap
        self._java_home = java_home

    @property
    def url(self) -> str:
        """The root of all of its APIs."""
        return f"http://{LOOPBACK}:{self.port}"

    def program(self) -> Program:
        """How it is run; its jars are fetched first.

        Raises:
            JarError, JavaError: it cannot run.

        """
        (archive,) = locked("registry")
        properties = {
            "apicurio.storage.kind": "kafkasql",  # in memory by default, and lost on restart
            "apicurio.kafkasql.bootstrap.servers": self._bootstrap,
            "apicurio.kafkasql.topic.auto-create": "true",
            # It waits this long twice at start, for snapshots that are not made: 5 s by default.
            "apicurio.kafkasql.consumer.poll.timeout": "1000",
            # The ids of the Confluent-compatible API are then the content's, as the converter asks for them.
            "apicurio.ccompat.legacy-id-mode.enabled": "false",
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": str(self.port),
            "quarkus.management.host": LOOPBACK,  # every address by default
            "quarkus.management.port": str(self.management_port),
            "quarkus.http.access-log.enabled": "false",
            'quarkus.log.category."io.apicurio".level': "WARN",
        }
        command = (
            str(java(self._java_home)),
            *flags(HEAP_MB),
            "-XX:TieredStopAtLevel=1",  # it answers a few questions an hour: half the CPU at start
            *(f"-D{name}={value}" for name, value in properties.items()),
            "-jar",
            str(unpacked(archive, cache_folder()) / "quarkus-run.jar"),
        )
        ready = answers(f"http://{LOOPBACK}:{self.management_port}/health/ready")
        return Program("registry", command, ready=ready)
