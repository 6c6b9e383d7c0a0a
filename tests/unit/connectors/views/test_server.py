"""Who answers: the owner of the key, by one hop; and whom: who bears the token."""

from aiohttp import ClientSession

from connectors.views.server import HOP
from connectors.views.worker import Hosted
from schemas.partitioner import partition_of
from tests.unit.connectors.views.town import COUNTS, Map, Town, get, hosted, servers

TOKEN = "a-secret"  # noqa: S105 - of a test


async def test_the_owner_answers_whoever_is_asked() -> None:
    """Two processes share risk; matching knows no ticks: each key is answered the same by either."""
    town = Town({"risk": [[0], [1]]})
    first, second = town.workers["risk"]
    town.order("alice", "a", "BUY", 190, 1)
    town.order("bob", "b", "SELL", 210, 1)
    groups = [hosted(first, town["matching"]), hosted(second, town["control"], town["settlement"])]
    async with servers(groups, Map()) as clients:
        for path in ("/accounts/alice", "/accounts/bob/orders/b", "/books/BTC%2FUSD?depth=3", "/instruments"):
            answers = [await get(client, path) for client in clients]
            assert answers[0] == answers[1]
            assert answers[0]["as_of"]


async def test_errors_of_the_owner_are_passed_on() -> None:
    """A 404 of the owner is the answer, with its sentence."""
    town = Town()
    async with servers([hosted(town["risk"]), hosted(town["control"])], Map()) as (client, _):
        assert "'XYZ' is not defined" in (await get(client, "/instruments/XYZ", 404))["error"]


async def test_no_owner() -> None:
    """While nobody owns the partition the answer is a 503 that names it."""
    town = Town()
    async with servers([hosted(town["risk"])], Map()) as (client,):
        error = await get(client, "/books/XYZ", 503)
        assert "no worker has matching" in error["error"]


async def test_units_that_cannot_be_learnt() -> None:
    """A book is not shown in guessed units: while control is away the answer is a 503."""
    town = Town()
    async with servers([hosted(town["matching"])], Map()) as (client,):
        assert "no worker has control 0" in (await get(client, "/books/BTC%2FUSD", 503))["error"]


async def test_an_old_map_is_read_anew() -> None:
    """Where the map names a worker that has lost the partition, or is gone, the owner is found at once."""
    town = Town()
    cluster = Map()
    async with servers([hosted(town["risk"]), hosted(town["control"])], cluster) as (client, _):
        for lost in (cluster.now["risk", 0], "http://127.0.0.1:1"):
            cluster.stale["control", 0] = lost
            assert (await get(client, "/instruments"))["instruments"]


async def test_one_hop_only() -> None:
    """A request that was passed on is not passed on again, though the map may say so."""
    town = Town()
    groups = [hosted(town["risk"]), hosted(town["control"])]
    async with (
        servers(groups, Map()) as (client, _),
        client.get("/instruments", headers={HOP: "1"}) as response,
    ):
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert "control is not a stage of this worker" in (await response.json())["error"]


async def test_a_token_is_needed() -> None:
    """With a token set, only the health of the process is open; a worker bears it to the next one."""
    town = Town()
    groups = [hosted(town["risk"]), hosted(town["control"])]
    async with servers(groups, Map(), TOKEN) as (client, _):
        for path in ("/", "/metrics", "/stages", "/accounts/alice", "/nothing"):
            for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                async with client.get(path, headers=given) as response:
                    assert response.status == 401
                    assert response.headers["WWW-Authenticate"] == "Bearer"
        assert await get(client, "/health/live") == {"is_live": True}
        assert (await get(client, "/health/ready"))["is_ready"]
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        async with ClientSession(client._base_url, headers=bearer) as known:
            assert (await get(known, "/instruments"))["instruments"]


async def test_ready_when_every_stage_is() -> None:
    """Ready is 200 when no stage waits for anything, and 503 with what is missing until then."""
    town = Town()
    waits: dict[str, str | None] = {"risk": "recovers partitions 0, 1", "intake": None}
    group = [
        Hosted("risk", lambda: waits["risk"], town["risk"]),
        Hosted("intake", lambda: waits["intake"]),
    ]
    async with servers([group], Map()) as (client,):
        assert await get(client, "/health/ready", 503) == {
            "is_ready": False,
            "missing": {"risk": "recovers partitions 0, 1"},
        }
        waits["risk"] = None
        assert await get(client, "/health/ready") == {"is_ready": True, "missing": {}}


async def test_a_partition_given_back() -> None:
    """What was given back is answered by nobody here, and leaves the list of this worker's partitions."""
    town = Town()
    async with servers([hosted(town["risk"])], Map()) as (client,):
        town["risk"].release()
        assert "not owned by this worker" in (await get(client, "/accounts/alice", 503))["error"]
        (stage,) = (await get(client, "/stages"))["stages"]
        assert stage["partitions"] == []


async def test_stages_and_metrics() -> None:
    """Each partition shows where it is, how far behind, its checkpoint's age and its rules."""
    town = Town()
    town["risk"].checkpoint()
    async with servers([[*hosted(town["risk"]), Hosted("intake", lambda: "waits")]], Map()) as (client,):
        risk, intake = (await get(client, "/stages"))["stages"]
        assert [it["partition"] for it in risk["partitions"]] == list(range(COUNTS.accounts))
        for it in risk["partitions"]:
            assert it["lag"] == 100 - it["next_offset"]
            assert it["next_offset"] > 0
            assert it["behind_checkpoint"] == 0
            assert 0 <= it["checkpoint_age_s"] < 60
            assert (it["rules_version"], it["repeats_dropped"]) == (1, 0)
        assert intake == {"stage": "intake", "is_ready": False, "missing": "waits", "partitions": []}
        async with client.get("/metrics") as response:
            text = await response.text()
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        lag = 100 - risk["partitions"][0]["next_offset"]
        assert (
            f'trading_inbox_lag{{partition="0",stage="risk",topic="account-commands"}} {float(lag)}' in text
        )
        assert "trading_stage_seconds_bucket" in text


async def test_what_was_said_is_counted() -> None:
    """Orders, trades and refusals by reason are counted where they are said."""
    town = Town()
    town.order("bob", "b1", "SELL", 202, 4)
    town.order("alice", "a1", "BUY", 202, 4)
    town.order("alice", "much", "BUY", 202, 2000)
    where = partition_of("alice", COUNTS.accounts), partition_of("BTC/USD", COUNTS.books)
    async with (
        servers([hosted(town["risk"], town["matching"])], Map()) as (client,),
        client.get("/metrics") as response,
    ):
        text = await response.text()
    for line in (
        f'trading_refused_total{{partition="{where[0]}",reason="quantity_exceeds_maximum",stage="risk"}} 1.0',
        f'trading_said_total{{partition="{where[1]}",stage="matching",type="OrderAccepted"}} 2.0',
        f'trading_said_total{{partition="{where[1]}",stage="matching",type="Trade"}} 1.0',
    ):
        assert line in text
