"""What the demo asks of the live views, as anyone with a browser would."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.request import Request, urlopen

from infra.demo.accounts import LOTS_PER_BTC, SYMBOL, TICKS_PER_USD
from infra.demo.plain_book import Level
from infra.settings import Settings
from schemas.record import Side

_TIMEOUT_S: Final = 10


def book(address: str, settings: Settings, depth: int) -> dict[Side, tuple[Level, ...]]:
    """Give the best levels of the book, from any worker's views (they know who owns it)."""
    answer = _get(f"{address}/books/{SYMBOL}?depth={depth}", settings)
    return {"BUY": _levels(answer["bids"]), "SELL": _levels(answer["asks"])}


def worth_a_look(address: str, account: str) -> list[str]:
    """Addresses for a reader to open."""
    paths = (f"books/{SYMBOL}", f"accounts/{account}", "stages", "metrics", "")
    return [f"{address}/{path}" for path in paths]


def _get(url: str, settings: Settings) -> Any:
    token = settings.views_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_S) as answer:  # noqa: S310  (our own, on loopback)
        return json.load(answer)


def _levels(levels: Sequence[Any]) -> tuple[Level, ...]:
    return tuple(
        Level(int(Decimal(level["price"]) * TICKS_PER_USD), int(Decimal(level["quantity"]) * LOTS_PER_BTC))
        for level in levels
    )
