"""Where the archive is: a bucket of an S3 server, or a folder with the same layout, behind four verbs.

Nothing here deletes or overwrites: what is in the archive stays as it is, whether the server locks it or not.
"""

import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from pyarrow import fs

from infra.errors import OperatorError
from infra.settings import Settings

CONNECT_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = (
    30.0  # a slow answer is waited for; a server that hangs is an error, and tried anew
)
ATTEMPTS: Final = 5  # with the SDK's growing pauses some 3 seconds: what lasts longer is for the next minute
ADDRESS: Final = re.compile(r"file://(?P<folder>/.*)|s3://(?P<bucket>[^/]+(?:/.*)?)")

# What an error of the S3 server means to an operator, by the name that Amazon's SDK gives it.
_KEY: Final = (
    "the S3 server refuses the key: check TRADING_ARCHIVE_S3_ACCESS_KEY, TRADING_ARCHIVE_S3_SECRET_KEY and"
    " TRADING_ARCHIVE_S3_REGION, and what the key may do in this bucket"
)
_DOWN: Final = (
    "the S3 server fails, several tries long: look at the server; what was asked can be asked again"
)
_ADVICE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ACCESS_DENIED": _KEY,
        "INVALID_ACCESS_KEY_ID": _KEY,
        "INVALID_SIGNATURE": _KEY,
        "INVALID_CLIENT_TOKEN_ID": _KEY,
        "SIGNATURE_DOES_NOT_MATCH": _KEY,
        "MISSING_AUTHENTICATION_TOKEN": _KEY,
        "NO_SUCH_BUCKET": "there is no such bucket: make it, with object lock, or correct TRADING_ARCHIVE_URL",
        "NETWORK_CONNECTION": "the S3 server cannot be reached, or does not answer in time: start it, or correct"
        " TRADING_ARCHIVE_S3_ENDPOINT",
        "INTERNAL_FAILURE": _DOWN,
        "SERVICE_UNAVAILABLE": _DOWN,
        "SLOW_DOWN": _DOWN,
        "THROTTLING": _DOWN,
        "REQUEST_TIMEOUT": _DOWN,
    }
)
_NO_SUCH_BUCKET: Final = _ADVICE["NO_SUCH_BUCKET"]


class ArchiveError(OperatorError):
    """The archive does not give or take what it should; one line with the cause and the next act."""


class Bucket:
    """The archive's files, each by its path below the root, parts divided by /.

    ``filesystem`` and ``path`` are for readers of Parquet; whoever uses them puts ``errors`` around it.
    """

    def __init__(self, filesystem: fs.FileSystem, url: str, root: str) -> None:
        """``url`` names the root for people and manifests, ``root`` for the file system."""
        self.filesystem, self.url, self._root = filesystem, url.rstrip("/"), root.rstrip("/")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The archive of the settings."""
        secret = settings.archive_s3_secret_key
        return cls.at(
            settings.archive_root,
            endpoint=settings.archive_s3_endpoint,
            access_key=settings.archive_s3_access_key,
            secret_key=None if secret is None else secret.get_secret_value(),
            region=settings.archive_s3_region,
        )

    @classmethod
    def at(
        cls,
        url: str,
        *,
        endpoint: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str = "us-east-1",
    ) -> Self:
        """The archive at ``file:///FOLDER`` or ``s3://BUCKET/PREFIX``; opening one asks nothing of the server.

        Without a key S3 takes what the machine has: AWS_* variables, ~/.aws, the instance's role.
        """
        parts = ADDRESS.fullmatch(url)
        if parts is None:
            raise ArchiveError(
                f"{url}: an archive is at file:///FOLDER or s3://BUCKET/PREFIX: correct TRADING_ARCHIVE_URL"
            )
        if parts["folder"]:
            return cls(fs.LocalFileSystem(), url, parts["folder"])
        server = fs.S3FileSystem(
            access_key=access_key,
            secret_key=secret_key,
            endpoint_override=endpoint,
            region=region,
            connect_timeout=CONNECT_TIMEOUT_S,
            request_timeout=REQUEST_TIMEOUT_S,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
            allow_delayed_open=True,  # a small file is one request, so it is there whole or not at all
        )
        return cls(server, url, parts["bucket"])

    def list(self, prefix: str = "") -> list[str]:
        """The paths of all files below a folder, sorted; none where there is no such folder.

        A name that begins with a dot is none of ours: a file that is being written, or Hadoop's checksum.
        """
        below = self.path(prefix)
        with self.errors(prefix):
            found = self.filesystem.get_file_info(
                fs.FileSelector(below, recursive=True, allow_not_found=True)
            )
            if not found:
                self._demand_bucket(prefix)
        paths = (file.path.removeprefix(f"{self._root}/") for file in found if file.is_file)
        return sorted(path for path in paths if not path.rpartition("/")[2].startswith("."))

    def holds(self, path: str) -> bool:
        """Whether there is such a file."""
        with self.errors(path):
            return bool(self.filesystem.get_file_info(self.path(path)).is_file)

    def read(self, path: str) -> bytes:
        """A file's bytes."""
        with self.errors(path), self.filesystem.open_input_stream(self.path(path)) as file:
            data: bytes = file.readall()
            return data

    def write_new(self, path: str, data: bytes) -> None:
        """Writes a file whole or not at all, durably; refuses a name that is taken.

        Two who write one name to S3 at the same moment may both succeed (an overwrite makes a version there, and
        loses nothing): names are to tell their writers apart.
        """
        if self.holds(path):
            raise ArchiveError(_taken(self.uri(path)))
        with self.errors(path):
            if isinstance(self.filesystem, fs.LocalFileSystem):
                _write_new_locally(Path(self.path(path)), data)
            else:
                with self.filesystem.open_output_stream(self.path(path)) as file:
                    file.write(data)

    def uri(self, path: str) -> str:
        """A file's address, for people and for what names it."""
        return f"{self.url}/{path}" if path else self.url

    def path(self, path: str) -> str:
        """A file's path in ``filesystem``."""
        return f"{self._root}/{path}".rstrip("/")

    @contextmanager
    def errors(self, path: str) -> Iterator[None]:
        """Turns what the file system raises into one line that says what to do."""
        try:
            yield
        except FileNotFoundError as error:
            raise ArchiveError(
                f"{self.uri(path)}: there is no such file: look at the archive's address, or at what"
                f" `trading archive list` shows ({_first_line(error)})"
            ) from error
        except FileExistsError as error:
            raise ArchiveError(_taken(self.uri(path))) from error
        except OSError as error:
            raise ArchiveError(f"{self.uri(path)}: {_advice(error)}") from error

    def _demand_bucket(self, prefix: str) -> None:
        """An empty answer is the same with and without a bucket; without one it must not pass for "nothing"."""
        bucket = self._root.partition("/")[0]
        is_s3 = not isinstance(self.filesystem, fs.LocalFileSystem)
        if is_s3 and self.filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
            raise ArchiveError(f"{self.uri(prefix)}: {_NO_SUCH_BUCKET}")


def _write_new_locally(path: Path, data: bytes) -> None:
    """A link to a whole file appears at once, and fails where the name is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(part)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Makes a name durable, as fsync makes a content."""
    entry = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def _advice(error: OSError) -> str:
    said = _first_line(error)
    name = re.search(r"AWS Error (\w+)", said)
    if name is None:
        return f"{said}: look at the folder's rights and at the room on its disk"
    known = _ADVICE.get(name[1])
    if known is None and re.search(r"HTTP status 5\d\d", said):
        known = _DOWN
    return f"{known} ({said})" if known else f"{said}: look it up in the S3 server's log"


def _first_line(error: OSError) -> str:
    return str(error).split("\n", 1)[0]


def _taken(uri: str) -> str:
    return f"{uri} exists already, and nothing in the archive is overwritten: choose another name"
