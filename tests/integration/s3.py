"""S3 servers for the tests: moto (in memory, takes any key), versitygw (real keys, object lock); faults before one."""

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple

import boto3
from aiohttp import ClientError, ClientSession, web
from botocore.config import Config
from moto.server import ThreadedMotoServer
from yarl import URL

from infra.processes import LOOPBACK, free_ports, is_free, start, stop, wait_until

BUCKET: Final = "worm"
PREFIX: Final = "engine"
ACCESS_KEY: Final = "archivist"
SECRET_KEY: Final = "a-secret-of-the-archivist"  # noqa: S105 - of a server that lives as long as a test
REGION: Final = "us-east-1"
LOCK_DAYS: Final = 1
TIMEOUT_S: Final = 20
# What belongs to a connection, not to the request.
OF_THE_HOP: Final = {"connection", "transfer-encoding", "expect", "keep-alive"}


class S3(NamedTuple):
    """A server with the bucket in it."""

    endpoint: str

    @property
    def url(self) -> str:
        """The archive's address there."""
        return f"s3://{BUCKET}/{PREFIX}"

    def settings(self, **other: str) -> dict[str, str]:
        """What an engine is told."""
        return {
            "archive_url": self.url,
            "archive_s3_endpoint": self.endpoint,
            "archive_s3_access_key": ACCESS_KEY,
            "archive_s3_secret_key": SECRET_KEY,
            **other,
        }

    def client(self) -> Any:
        """Amazon's own client."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def make_bucket(self, *, is_locked: bool) -> None:
        """Make the bucket; locked: nothing in it can be deleted or changed for a day, by nobody."""
        client = self.client()
        client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=is_locked)
        if is_locked:
            rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": LOCK_DAYS}}
            client.put_object_lock_configuration(
                Bucket=BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
            )


@contextmanager
def moto() -> Iterator[S3]:
    """Run moto's server in this process, with the bucket."""
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        s3 = S3(f"http://{host}:{port}")
        s3.make_bucket(is_locked=False)
        yield s3
    finally:
        server.stop()


def versitygw_program() -> str | None:
    """Where versitygw is, if it is there: .ci/run builds it, and puts it on the PATH."""
    return shutil.which("versitygw")


@contextmanager
def versitygw(program: str, folder: Path) -> Iterator[S3]:
    """Run versitygw on a folder, with the bucket, locked."""
    (port,) = free_ports(1)
    for name in ("objects", "versions"):
        (folder / name).mkdir()
    command = [program, "--port", f"{LOOPBACK}:{port}", "--region", REGION]
    command += ["posix", "--versioning-dir", str(folder / "versions"), str(folder / "objects")]
    keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    process = start(command, folder / "versitygw.log", keys)
    try:
        assert wait_until(lambda: not is_free(port), TIMEOUT_S), (folder / "versitygw.log").read_text()
        s3 = S3(f"http://{LOOPBACK}:{port}")
        s3.make_bucket(is_locked=True)
        yield s3
    finally:
        stop(process, 5)


class Faults:
    """A proxy before a real server that can fail or be slow; what it lets pass is as the server had it."""

    def __init__(self, target: str) -> None:
        self.target = URL(target)
        self.failing_writes = False
        self.delay_s = 0.0
        self.failed = self.delayed = 0
        self.endpoint = ""
        self._session: ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, headers as they were signed; or fail it."""
        body = await request.read()
        if self.failing_writes and request.method in {"PUT", "POST"}:
            self.failed += 1
            error = "<Error><Code>InternalError</Code><Message>the test wills it</Message></Error>"
            return web.Response(
                status=HTTPStatus.SERVICE_UNAVAILABLE, text=error, content_type="application/xml"
            )
        if self.delay_s:
            self.delayed += 1
            await asyncio.sleep(self.delay_s)
        assert self._session is not None
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in OF_THE_HOP]
        url = self.target.join(URL(request.raw_path, encoded=True))
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                passed = [
                    (name, value) for name, value in answer.headers.items() if name.lower() not in OF_THE_HOP
                ]
                return web.Response(status=answer.status, headers=passed, body=await answer.read())
        except ClientError:
            return web.Response(status=HTTPStatus.BAD_GATEWAY)

    async def serve(self, ready: threading.Event, done: asyncio.Event) -> None:
        """Serve until done."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False)
        async with ClientSession(auto_decompress=False, skip_auto_headers=("Content-Type",)) as self._session:
            await runner.setup()
            await web.TCPSite(runner, LOOPBACK, 0).start()
            self.endpoint = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
            ready.set()
            await done.wait()
            await runner.cleanup()


@contextmanager
def faults(s3: S3) -> Iterator[Faults]:
    """Run the proxy in a thread, on a loop of its own."""
    proxy, ready = Faults(s3.endpoint), threading.Event()
    loop, done = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.serve(ready, done)), daemon=True)
    thread.start()
    assert ready.wait(TIMEOUT_S)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(TIMEOUT_S)
        loop.close()
