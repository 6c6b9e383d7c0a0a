"""`trading dead-letters`: what came from outside and could not be read, and its way back in."""

import json
import string
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import click

from connectors.views.reference import moment
from infra.acts import acting
from infra.auditor.log import Log
from infra.cluster import Outgoing, engine_log, write
from infra.errors import OperatorError
from infra.settings import Settings
from infra.shown import shown
from schemas import codec
from schemas.envelopes import DeadLetter
from schemas.topics import DEAD_LETTERS, ORDERS, client_of

_PLACE: Final = (DEAD_LETTERS, 0)
_ROW_BYTES: Final = 16
_TEXT: Final = frozenset(string.printable.encode()) - frozenset(string.whitespace.encode()) | {32}


class Numbered(NamedTuple):
    """A dead letter and its number: its offset in `dead-letters`."""

    number: int
    letter: DeadLetter


@click.group("dead-letters")
def dead_letters() -> None:
    """List, show and replay what came from outside and could not be read.

    \b
    Example:
      trading dead-letters list
      trading dead-letters replay 17
    """  # noqa: D301


@dead_letters.command("list")
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="Begin at this number.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show at most so many."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def show_list(*, first: int, limit: int, as_json: bool) -> None:
    """List dead letters by number, oldest first: where each came from, why it was not read.

    \b
    Example:
      trading dead-letters list --from 50
    """  # noqa: D301
    with engine_log(Settings.load()) as log:
        page = list(islice(_read(log, first), limit + 1))
    if as_json:
        click.echo(json.dumps([_shape(it) for it in page[:limit]]))
        return
    for number, letter in page[:limit]:
        size = len(letter.value or b"")
        click.echo(
            f"{number}  {moment(letter.at_ns)}  {letter.topic} {letter.partition} {letter.offset}  {letter.reason}:"
            f" {letter.detail} ({size} bytes)"
        )
    if len(page) > limit:
        click.echo(f"more: trading dead-letters list --from {page[limit].number}")
    elif not page:
        click.echo("no dead letters" + (f" from {first} on" if first else ""))


@dead_letters.command()
@click.argument("number", type=click.IntRange(min=0))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; bytes as hex.")
def show(*, number: int, as_json: bool) -> None:
    """Show one dead letter: its bytes, and what they say where they can be decoded.

    \b
    Example:
      trading dead-letters show 17
    """  # noqa: D301
    with engine_log(Settings.load()) as log:
        found = _find(log, (number,))[0]
    letter, value = found.letter, found.letter.value or b""
    decoded = _decoded(value)
    if as_json:
        click.echo(json.dumps(_shape(found) | {"value": value.hex(), "decoded": decoded}))
        return
    click.echo(f"from    {letter.topic}, partition {letter.partition}, offset {letter.offset}")
    click.echo(f"at      {moment(letter.at_ns)}")
    click.echo(f"reason  {letter.reason} ({letter.reason_code}): {letter.detail}")
    click.echo(f"key     {letter.key!r}")
    if decoded is not None:
        click.echo(f"says    {json.dumps(decoded)}")
    click.echo(f"value   {len(value)} bytes")
    for line in hex_lines(value):
        click.echo(f"  {line}")


@dead_letters.command()
@click.argument("numbers", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was sent as a JSON list.")
def replay(*, numbers: tuple[str, ...], as_json: bool) -> None:
    """Send dead letters again, byte for byte, to the topic, partition and key that they came with.

    They enter at the edge as new: intake judges them again, by a newer schema maybe, with the time of the replay.
    NUMBERS are those of the list, or ranges of them.

    \b
    Example:
      trading dead-letters replay 17 20-24
    """  # noqa: D301
    wanted = parse_numbers(numbers)
    settings = Settings.load()
    with engine_log(settings) as log:
        found = _find(log, wanted)
    for number, letter in found:
        if letter.topic != ORDERS and client_of(letter.topic) is None:
            raise OperatorError(
                f"dead letter {number} is from {letter.topic}, where nobody sends from outside"
            )
    letters = [_shape(it) for it in found]
    with acting(settings, "REPLAY_DEAD_LETTERS", f"dead letters {' '.join(numbers)}", details=letters):
        write(settings, [Outgoing(it.topic, it.value, it.key, it.partition) for _, it in found])
    if as_json:
        click.echo(json.dumps(letters))
        return
    for number, letter in found:
        click.echo(
            f"{number}: {len(letter.value or b'')} bytes sent again to {letter.topic} {letter.partition}"
        )


def parse_numbers(texts: tuple[str, ...]) -> tuple[int, ...]:
    """Read numbers and ranges, in the order given, each once: `17 20-22` is 17, 20, 21, 22.

    Raises:
        click.BadParameter: one is neither.

    """
    numbers: dict[int, None] = {}
    for text in texts:
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise click.BadParameter(f"{text!r} is neither a number nor a range like 20-24")
        numbers |= dict.fromkeys(range(int(first), int(last or first) + 1))
    return tuple(numbers)


def hex_lines(value: bytes) -> Iterator[str]:
    """Dump bytes: offset, sixteen of them in hex, and as text."""
    for start in range(0, len(value), _ROW_BYTES):
        row = value[start : start + _ROW_BYTES]
        text = "".join(chr(byte) if byte in _TEXT else "." for byte in row)
        yield f"{start:06x}  {row.hex(' '):<{3 * _ROW_BYTES - 1}}  {text}"


def _read(log: Log, first: int) -> Iterator[Numbered]:
    start, end = log.bounds(_PLACE)
    for record in log.read(_PLACE, (max(first, start), end)):
        letter = codec.decode(record.value or b"")
        assert isinstance(letter, DeadLetter), "the topic holds nothing else"
        yield Numbered(record.offset, letter)


def _find(log: Log, numbers: tuple[int, ...]) -> list[Numbered]:
    left = set(numbers)
    found = {}
    for it in _read(log, min(numbers)):
        if it.number in left:
            found[it.number] = it
            left.discard(it.number)
        if not left:
            return [found[number] for number in numbers]
    missing = ", ".join(map(str, sorted(left)))
    raise OperatorError(f"there is no dead letter {missing}: see `trading dead-letters list`")


def _shape(it: Numbered) -> dict[str, Any]:
    letter = it.letter
    return {
        "number": it.number,
        "at": moment(letter.at_ns),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "reason_code": letter.reason_code,
        "detail": letter.detail,
        "key": None if letter.key is None else letter.key.hex(),
        "bytes": len(letter.value or b""),
    }


def _decoded(value: bytes) -> Any:
    """What the bytes say as a record of ours, with its type; None where they are none."""
    try:
        return shown(codec.decode(value))
    except codec.DecodeError:
        return None
