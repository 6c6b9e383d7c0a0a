"""What a view is: a path, whose state it reads, what it takes from there, and how that is shown."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from aiohttp import web

from agents.rules.intake import is_identifier, not_identifier
from agents.stage.fold import Fold
from connectors.views.reference import Reference
from schemas.ids import place_of
from schemas.maximums import INT64_MAX
from schemas.topics import PartitionCounts

_INTEGER: Final = re.compile(r"-?[0-9]{1,19}").fullmatch


class ViewError(Exception):
    """An answer other than 200; the message is a sentence for whoever asked."""

    status = 500


class BadRequest(ViewError):
    """The path or the query cannot be understood."""

    status = 400


class NotFound(ViewError):
    """There is no such thing, or there is none now."""

    status = 404


class Unavailable(ViewError):
    """The state is with no worker that could be asked now."""

    status = 503


class Number(NamedTuple):
    """A number that a query may name, and its bounds (inclusive)."""

    name: str
    default: int
    least: int
    most: int


class Ask(NamedTuple):
    """What was asked for: the names in the path, and every number of the view."""

    names: Mapping[str, str]
    numbers: Mapping[str, int]


class View(NamedTuple):
    """``read`` runs while the fold stands still: it takes little, keeps no live object, and raises NotFound.

    ``shape`` makes JSON of that while the fold goes on, in the units of ``Reference``.
    """

    path: str
    example: str
    about: str
    stage: str
    partition: Callable[[Ask, PartitionCounts], int]
    read: Callable[[Fold, Ask], Any]
    shape: Callable[[Any, Reference], dict[str, Any]]
    numbers: tuple[Number, ...] = ()


LIMIT: Final = Number("limit", 100, 1, 1000)  # a page: a thousand rows are a few ms to show
AFTER: Final = Number("after", -1, -1, INT64_MAX)


def ask_of(request: web.Request, numbers: tuple[Number, ...]) -> Ask:
    """Reads a request; BadRequest says what was wrong and what is allowed."""
    names = dict(request.match_info)
    for name, value in names.items():
        if not is_identifier(value):
            raise BadRequest(not_identifier(name, value)[1])
    known = {number.name for number in numbers}
    for name in request.query:
        if name not in known:
            allowed = f"allowed: {', '.join(sorted(known))}" if known else "this view takes none"
            raise BadRequest(f"there is no parameter {name!r}; {allowed}")
    return Ask(names, {number.name: _number(number, request.query.get(number.name)) for number in numbers})


def order_id_of(ask: Ask) -> int:
    """The order id in the path."""
    text = ask.names["order_id"]
    if not _INTEGER(text) or not 0 <= int(text) <= INT64_MAX:
        raise BadRequest(
            f"order_id {text!r} is not an integer from 0 to {INT64_MAX}; a client's own id goes"
            " behind its account: /accounts/ACCOUNT/orders/CLIENT_ORDER_ID"
        )
    return int(text)


def partition_of_order(ask: Ask, counts: PartitionCounts) -> int:
    """An order's id is its place in ``account-commands``."""
    partition = place_of(order_id_of(ask))[0]
    if partition >= counts.accounts:
        raise NotFound(
            f"order {ask.names['order_id']} is of partition {partition}, and this engine has"
            f" {counts.accounts}: no order of it has this id"
        )
    return partition


def _number(number: Number, text: str | None) -> int:
    if text is None:
        return number.default
    if not _INTEGER(text) or not number.least <= int(text) <= number.most:
        raise BadRequest(f"{number.name}={text!r} is not an integer from {number.least} to {number.most}")
    return int(text)
