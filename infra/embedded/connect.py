"""A Connect worker with the engine's connectors, on loopback."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.embedded.broker import class_path
from infra.embedded.jars import cache_folder, fetch, locked
from infra.embedded.java import flags, java, quiet_slf4j
from infra.errors import OperatorError
from infra.processes import LOOPBACK
from infra.supervisor import Program, answers

# Folders of jars.lock; each is a plugin, with a class loader of its own.
PLUGINS: Final = ("connect/apicurio-converter", "connect/debezium-jdbc", "connect/iceberg")

VARIABLES: Final = "TRADING_SINK_[A-Z0-9_]*"  # what connectors may ask of the environment


class ConnectError(OperatorError):
    """The embedded Connect worker cannot run."""


class EmbeddedConnect:
    """One worker, a cluster of its own named `group`; `env` is what connectors may name as `${env:NAME}`."""

    def __init__(
        self,
        folder: Path,
        bootstrap: str,
        port: int,
        group: str,
        env: Mapping[str, str],
        *,
        heap_mb: int = 512,
        replication: int = 1,
        java_home: Path | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port
        self._heap_mb, self._replication = heap_mb, replication
        self._bootstrap, self._group, self._env = bootstrap, group, env
        self._java_home = java_home

    @property
    def url(self) -> str:
        """The address of its REST API."""
        return f"http://{LOOPBACK}:{self.port}"

    def program(self) -> Program:
        """How it is run; its jars are fetched, and its plugins laid out, first.

        Raises:
            JarError, JavaError, ConnectError: it cannot run.

        """
        program, jars = java(self._java_home), class_path()
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "worker.properties"
        file.write_text(self._properties(_plugins(program, jars)))
        return Program(
            "connect",
            (
                str(program),
                *flags(self._heap_mb),
                *quiet_slf4j(),
                # Of the file systems that Hadoop brings it would tell, with a trace, which of them cannot run here.
                "-Dorg.slf4j.simpleLogger.log.org.apache.hadoop.fs.FileSystem=error",
                "org.apache.kafka.connect.cli.ConnectDistributed",
                str(file),
            ),
            {"CLASSPATH": jars, **self._env},
            ready=answers(f"{self.url}/connectors"),  # 5xx until it has read its own topics
        )

    def _properties(self, plugins: Path) -> str:
        """Give Connect's worker.properties; what is not Connect's default has its reason beside it."""
        group, copies = self._group, self._replication
        return f"""\
bootstrap.servers={self._bootstrap}
group.id={group}
listeners=http://{LOOPBACK}:{self.port}
plugin.path={plugins}
plugin.discovery=service_load
# Every connector names its own.
key.converter=org.apache.kafka.connect.converters.ByteArrayConverter
value.converter=org.apache.kafka.connect.converters.ByteArrayConverter
# Addresses and secrets stay out of the connectors' files; only names of ours may be asked for.
config.providers=env
config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
config.providers.env.param.allowlist.pattern={VARIABLES}
config.storage.topic={group}-configs
offset.storage.topic={group}-offsets
status.storage.topic={group}-status
config.storage.replication.factor={copies}
offset.storage.replication.factor={copies}
status.storage.replication.factor={copies}
# 25 and 5 by default, for many workers.
offset.storage.partitions=1
status.storage.partitions=1
# After kill -9 the worker waits for its own old session: 10 s by default.
session.timeout.ms=6000
heartbeat.interval.ms=1000
scheduled.rebalance.max.delay.ms=0
# A task's places are kept at least as often as its rows are looked for; 60 s by default.
offset.flush.interval.ms=1000
"""


def _plugins(program: Path, jars: str) -> Path:
    """The plugin path, laid out once for each lock: links to the cached jars, and the manifests synced.

    Without the manifests the worker would look into every class of every jar at each start.
    """
    plugins = {folder: locked(folder) for folder in PLUGINS}
    digest = hashlib.sha256(repr(plugins).encode()).hexdigest()[:16]
    path = cache_folder().with_name("plugins") / digest
    if path.exists():
        fetch(locked(*PLUGINS), cache_folder())  # the links lead to what is checked here
        return path
    path.parent.mkdir(exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=path.parent))
    for folder, locked_jars in plugins.items():
        plugin = half / Path(folder).name
        plugin.mkdir()
        for jar in fetch(locked_jars, cache_folder()):
            (plugin / jar.name).symlink_to(jar)
    tool = ["org.apache.kafka.tools.ConnectPluginPath", "sync-manifests", "--plugin-path", str(half)]
    done = subprocess.run(
        [str(program), *quiet_slf4j(), *tool],
        env={**os.environ, "CLASSPATH": jars},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConnectError(
            f"Connect's plugins in {half} cannot be read: {(done.stderr or done.stdout).strip()}"
        )
    try:
        half.rename(path)
    except OSError:  # another engine was quicker
        if not path.exists():
            raise
    return path
