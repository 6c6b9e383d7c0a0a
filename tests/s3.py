"""An S3 server in this process, with faults on demand: it fails, dawdles, or hangs up before it answers well.

moto's server, behind a door that tests close. What moto does not do (Amazon's signatures in full, locks that hold)
is asked of a real server where there is one.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
from moto import settings as moto_settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

Environment = dict[str, Any]
REGION: Final = "us-east-1"
BUCKET: Final = "archive"
KEY: Final = "key"
SECRET: Final = "none"  # noqa: S105 - moto takes any


class FaultyServer:
    """Answers the next ``failures`` requests with 503, and each after ``delay_s``; counts what it was asked."""

    def __init__(self) -> None:
        """Starts well."""
        self.failures, self.delay_s, self.requests = 0, 0.0, 0
        self._s3 = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def start(self) -> None:
        """Serves."""
        self._thread.start()

    def stop(self) -> None:
        """Ends."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def refusing_keys(self) -> Iterator[None]:
        """Knows no key meanwhile: each is a wrong one."""
        before = moto_settings.INITIAL_NO_AUTH_ACTION_COUNT
        moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        try:
            yield
        finally:
            moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = before

    def _answer(self, environment: Environment, start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests += 1
        time.sleep(self.delay_s)
        if self.failures > 0:
            self.failures -= 1
            length = int(environment.get("CONTENT_LENGTH") or 0)
            environment["wsgi.input"].read(length)
            start("503 Service Unavailable", [("Content-Length", "0")])
            return []
        answer: Iterable[bytes] = self._s3(environment, start)
        return answer


@contextmanager
def s3_server() -> Iterator[FaultyServer]:
    """Runs one with an empty bucket ``archive``."""
    s3_backends.reset()  # moto keeps its buckets in this process, whichever server made them
    server = FaultyServer()
    server.start()
    try:
        client(server.url).create_bucket(Bucket=BUCKET)
        yield server
    finally:
        server.stop()


def client(url: str) -> Any:
    """A client of Amazon's own library, which makes buckets and looks from outside."""
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION
    )
