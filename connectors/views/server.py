"""The server of the views: one in each worker process, on its event loop.

A view of a key is answered here if this process owns the key's partition, else by one hop to the worker that
does. State is read only by ``Partitions.look``, in a thread of its own: it waits for the fold.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from yarl import URL

from agents.stage.fold import Fold
from connectors.views import accounts, books, index, instruments, orders
from connectors.views.cluster import Cluster
from connectors.views.reference import Reference, UnitsUnknownError, moment
from connectors.views.view import Ask, Unavailable, View, ViewError, ask_of
from connectors.views.worker import (
    Hosted,
    Standing,
    Tallies,
    missing,
    next_offsets,
    progress_of,
    shape_stage,
)
from schemas.topics import PartitionCounts
from tables.checkpointed.rows import NotOwned

VIEWS: Final = (*accounts.VIEWS, *orders.VIEWS, *books.VIEWS, *instruments.VIEWS)
HOP: Final = "X-Trading-Hop"  # on a request that another worker passes on: it goes no further
LIVE: Final = "/health/live"
READY: Final = "/health/ready"
OPEN: Final = {LIVE, READY}  # a supervisor or an orchestrator bears no token
PEER_TIMEOUT_S: Final = 5.0
THREADS: Final = 4  # looks at different stages need not wait for each other

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Answer(NamedTuple):
    """What goes back: JSON and its status."""

    body: bytes
    status: int = 200


class Views:
    """The views of one process."""

    def __init__(
        self, hosted: Sequence[Hosted], counts: PartitionCounts, cluster: Cluster, token: str | None = None
    ) -> None:
        """With a token, whoever asks must bear it; workers of one engine share it."""
        self._hosted = list(hosted)
        self._folds = {it.stage: it.partitions for it in hosted if it.partitions is not None}
        self._tables = {it.stage: it.tables for it in hosted}
        self._counts, self._cluster, self._token = counts, cluster, token
        self._reference = Reference()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="views")
        self._session: ClientSession | None = None

    def application(self) -> web.Application:
        """The aiohttp application; its start and its clean-up open and close what it needs."""
        app = web.Application(middlewares=[self._errors, self._authorised])
        app.cleanup_ctx.append(self._life)
        app.router.add_get("/", self._index)
        app.router.add_get(LIVE, self._live)
        app.router.add_get(READY, self._ready)
        app.router.add_get("/stages", self._stages)
        app.router.add_get("/metrics", self._metrics)
        for view in VIEWS:
            app.router.add_get(view.path, partial(self._serve, view))
        return app

    # Views of a key.

    async def _serve(self, view: View, request: web.Request) -> web.Response:
        ask = ask_of(request, view.numbers)
        answer = await self._answer(view, ask, request.raw_path, may_hop=HOP not in request.headers)
        return _response(answer)

    async def _answer(self, view: View, ask: Ask, path: str, *, may_hop: bool) -> Answer:
        partition = view.partition(ask, self._counts)
        try:
            return Answer(msgspec.json.encode(await self._local(view, partition, ask)))
        except NotOwned as error:
            if may_hop:
                return await self._from_owner(view.stage, partition, path)
            raise Unavailable(f"{error}, or it is still being recovered: ask again") from error

    async def _local(self, view: View, partition: int, ask: Ask) -> dict[str, Any]:
        partitions = self._folds.get(view.stage)
        if partitions is None:
            raise NotOwned(f"{view.stage} is not a stage of this worker")

        def work() -> dict[str, Any]:
            rows, as_of = partitions.look(partition, lambda fold: (view.read(fold, ask), _as_of(fold)))
            return view.shape(rows, self._reference) | {"as_of": as_of}

        while True:
            try:
                return await self._in_thread(work)
            except UnitsUnknownError as unknown:
                await self._learn(unknown)

    async def _from_owner(self, stage: str, partition: int, path: str) -> Answer:
        """Asks the owner; where that fails, once more whoever is the owner by then."""
        answer = None
        for fresh in (False, True):
            owner = await self._cluster.owner(stage, partition, fresh=fresh)
            if owner is None:
                continue
            answer = await self._from_peer(owner, path)
            if answer is not None and answer.status != Unavailable.status:
                return answer
        if answer is not None:
            return answer
        raise Unavailable(f"no worker has {stage} {partition} now: see that one runs, and ask again")

    async def _from_peer(self, owner: str, path: str) -> Answer | None:
        assert self._session is not None, "the application has started"
        try:
            async with self._session.get(URL(owner + path, encoded=True)) as response:
                return Answer(await response.read(), response.status)
        except (ClientError, TimeoutError):
            return None

    # Units that a view needs and this process has not learnt.

    async def _learn(self, unknown: UnitsUnknownError) -> None:
        """Learns from risk, if it is here, since it has all instruments; else from control's worker."""
        await self._in_thread(self._learn_from_risk)
        if self._reference.knows(unknown):
            return
        if unknown.instrument is not None:
            await self._learn_from_control(unknown.instrument)
        elif unknown.currency is not None:  # asked for by risk alone, which has just told all
            self._reference.count_in_minor(unknown.currency)

    def _learn_from_risk(self) -> None:
        for instrument in self._tables.get("risk", {}).get("instruments", {}).values():
            self._reference.define(instrument)

    async def _learn_from_control(self, symbol: str) -> None:
        path = f"/instruments/{quote(symbol, safe='')}"
        answer = await self._answer(instruments.ONE, Ask({"symbol": symbol}, {}), path, may_hop=True)
        if answer.status != web.HTTPOk.status_code:
            raise Unavailable(
                f"the tick and lot of {symbol} are not known here, and control's worker says"
                f" {answer.status}: ask again"
            )
        self._reference.define(instruments.definition_of(msgspec.json.decode(answer.body)))

    # Views of this worker.

    async def _index(self, _request: web.Request) -> web.Response:
        return web.Response(text=index.page(VIEWS), content_type="text/html")

    async def _live(self, _request: web.Request) -> web.Response:
        return _response(Answer(msgspec.json.encode({"is_live": True})))

    async def _ready(self, _request: web.Request) -> web.Response:
        waits = missing(self._hosted)
        body = msgspec.json.encode({"is_ready": not waits, "missing": waits})
        return _response(Answer(body, Unavailable.status if waits else 200))

    async def _stages(self, _request: web.Request) -> web.Response:
        stages = [shape_stage(it) for it in await self._standing()]
        return _response(Answer(msgspec.json.encode({"stages": stages})))

    async def _metrics(self, _request: web.Request) -> web.Response:
        now = CollectorRegistry()
        now.register(Tallies(await self._standing()))
        text = await self._in_thread(lambda: generate_latest() + generate_latest(now))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _standing(self) -> list[Standing]:
        standing = []
        for hosted in self._hosted:
            folds = hosted.partitions
            progress = {} if folds is None else await self._in_thread(partial(progress_of, folds))
            offsets = next_offsets(hosted, progress)
            standing.append(Standing(hosted, progress, offsets, await self._cluster.ends(offsets)))
        return standing

    # What every request goes through.

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Errors are JSON too, with a sentence."""
        try:
            return await handler(request)
        except ViewError as error:
            return _refusal(error.status, str(error))
        except web.HTTPNotFound:
            return _refusal(404, f"there is no view at {request.path}; GET / lists all")
        except web.HTTPMethodNotAllowed:
            return _refusal(405, f"views are read: GET {request.path}, not {request.method}")

    @web.middleware
    async def _authorised(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._token is None or request.path in OPEN:
            return await handler(request)
        given = request.headers.get("Authorization", "").encode()
        if hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            return await handler(request)
        return _refusal(401, "a bearer token is needed: Authorization: Bearer TOKEN (TRADING_VIEWS_TOKEN)")

    async def _life(self, _app: web.Application) -> AsyncIterator[None]:
        headers = {HOP: "1"} | ({} if self._token is None else {"Authorization": f"Bearer {self._token}"})
        async with ClientSession(headers=headers, timeout=ClientTimeout(PEER_TIMEOUT_S)) as self._session:
            yield
        self._threads.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@asynccontextmanager
async def serving(views: Views, host: str, port: int) -> AsyncIterator[str]:
    """Serves while the block runs, and gives the address; OSError if the port is taken."""
    runner = web.AppRunner(views.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _as_of(fold: Fold) -> dict[str, Any]:
    return {
        "stage": fold.stage.name,
        "partition": fold.partition,
        "next_offset": fold.next_offset,
        "time": moment(fold.now_ns),
        "time_ns": fold.now_ns,
    }


def _refusal(status: int, sentence: str) -> web.Response:
    return _response(Answer(msgspec.json.encode({"error": sentence}), status))


def _response(answer: Answer) -> web.Response:
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(answer.status, {})
    return web.Response(
        body=answer.body, status=answer.status, content_type="application/json", headers=headers
    )
