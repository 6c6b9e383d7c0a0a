"""Bad records: from outside none stops an engine; from inside each stops it, and an operator steps over it."""

import re
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from infra.bench.flow import accounts
from infra.cli import main
from schemas import codec
from schemas.commands import Deposit, PlaceOrder
from schemas.envelopes import AccountCommands, Answers, BookCommands
from schemas.events import OrderAccepted, OrderRejected
from schemas.maximums import ORDER_BYTES
from schemas.partitioner import partition_of
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, BOOK_COMMANDS, DEAD_LETTERS, ORDERS
from tables.meta import META_KEY, Heard, decode_meta
from tests.chaos.harness import Chaos, stamped, worker_command

pytestmark = pytest.mark.chaos

ORDER = PlaceOrder(
    account="bench0000",
    client_order_id="mine",
    instrument="BENCH00",
    side="BUY",
    order_type="LIMIT",
    time_in_force="GTC",
    quantity_lots=5,
    price_ticks=9_000,
)
VALID = codec.encode(ORDER)
SWEPT = 8_000
DEPOSIT = Deposit(account="bench0000", command_id="d", currency="USD", amount_minor=1)


def changed(**fields: object) -> bytes:
    """The order with other fields, as a stranger may write it."""
    return codec.encode(msgspec.structs.replace(ORDER, **fields))


LETTERS = {
    "nothing": (None, "undecodable"),
    "empty": (b"", "undecodable"),
    "garbage": (b"garbage", "undecodable"),
    "truncated": (VALID[:-3], "undecodable"),
    "too long": (VALID + b"\0", "undecodable"),
    "bad UTF-8": (VALID.replace(b"BENCH00", b"BENCH\xff\xfe"), "undecodable"),
    "unknown schema": (b"\0\x7f\xff\xff\xff" + VALID[5:], "unknown_schema"),
    "unknown type": (codec.encode(AccountCommands(items=(DEPOSIT,))), "unknown_type"),
    "NUL in account": (changed(account="bench\x000000"), "invalid_identifier"),
    "NUL in id": (changed(client_order_id="a\0b"), "invalid_identifier"),
    "huge garbage": (b"x" * (ORDER_BYTES - 1024), "undecodable"),
    "huge word": (changed(side="\0" * (ORDER_BYTES - 1024)), None),
    "NUL in instrument": (changed(client_order_id="nul", instrument="A\0B"), None),
    "huge quantity": (changed(client_order_id="huge", quantity_lots=2**63 - 1), None),
    "negative price": (changed(client_order_id="negative", price_ticks=-1), None),
}


def of_order(chaos: Chaos, client_order_id: str) -> list[Any]:
    """What was said of an order, repeats of records dropped."""
    partition = partition_of(ORDER.account, chaos.counts.accounts)
    values = dict.fromkeys(it.value for it in chaos.records(ACCOUNT_EVENTS, partition) if it.value)
    envelopes: list[Any] = [codec.decode(value) for value in values]
    items = (item for envelope in envelopes for item in envelope.items)
    return [item for item in items if getattr(item, "client_order_id", None) == client_order_id]


def test_poison_from_outside(chaos: Chaos) -> None:
    """Each kind of poison becomes a dead letter with its reason and bytes, or a refusal; orders go on between."""
    with chaos.load():
        chaos.until_said()
        for value, _ in LETTERS.values():
            chaos.produce(ORDERS, value, chaos.chance.randrange(2))
        chaos.until_said()
    chaos.audit()
    letters: list[Any] = [codec.decode(it.value or b"") for it in chaos.records(DEAD_LETTERS)]
    found = {(it.value, it.reason) for it in letters}
    assert found == {(value, reason) for value, reason in LETTERS.values() if reason is not None}
    for name in ("mine", "nul", "huge", "negative"):
        assert any(isinstance(it, OrderRejected) for it in of_order(chaos, name)), name
    assert not any("intake" in line for line in chaos.lines), chaos.story()


def test_one_id_many_times(chaos: Chaos) -> None:
    """An id twice in a batch, after a restart again, and with other content: one order, its outcome, a refusal."""
    partition = partition_of(ORDER.account, chaos.counts.accounts)
    order = msgspec.structs.replace(ORDER, client_order_id="twice")
    twice = AccountCommands(items=(stamped(order), stamped(order)))
    chaos.produce(ACCOUNT_COMMANDS, codec.encode(twice), partition)
    chaos.until(lambda: len(of_order(chaos, "twice")) == 1, "one outcome")
    for stage in ("intake", "risk", "matching"):
        chaos.kill(stage)
    chaos.until_ready()
    chaos.produce(ORDERS, codec.encode(order), 0)
    chaos.produce(ORDERS, codec.encode(msgspec.structs.replace(order, quantity_lots=6)), 0)
    chaos.until(lambda: len(of_order(chaos, "twice")) == 3, "outcomes after the restart")
    chaos.audit()
    said = of_order(chaos, "twice")
    assert [it.possible_resend for it in said if isinstance(it, OrderAccepted)] == [False, True]
    assert [it.reason for it in said if isinstance(it, OrderRejected)] == ["client_order_id_already_used"]


def test_sweep_makes_a_large_record(chaos: Chaos) -> None:
    """An order that takes thousands makes records of over a megabyte, which every reader takes."""
    partition = partition_of(ORDER.account, chaos.counts.accounts)
    other = next(
        it.account
        for it in accounts()
        if it.account != ORDER.account and partition_of(it.account, chaos.counts.accounts) == partition
    )
    high = msgspec.structs.replace(ORDER, price_ticks=20_000, instrument="BENCH49", quantity_lots=1)
    for start in range(0, SWEPT, 100):
        items = tuple(
            stamped(msgspec.structs.replace(high, client_order_id=f"s{number}"))
            for number in range(start, start + 100)
        )
        chaos.produce(ACCOUNT_COMMANDS, codec.encode(AccountCommands(items=items)), partition)
    sweep = msgspec.structs.replace(
        high, account=other, client_order_id="sweep", side="SELL", quantity_lots=SWEPT
    )
    chaos.produce(ACCOUNT_COMMANDS, codec.encode(AccountCommands(items=(stamped(sweep),))), partition)
    chaos.audit()
    sizes = [len(it.value or b"") for it in chaos.records(ACCOUNT_EVENTS, partition)]
    assert max(sizes) > 10**6


def skip(chaos: Chaos, *place: str) -> None:
    """`trading skip`, by its command line."""
    answer = CliRunner(env=chaos.settings.environment()).invoke(main, ["skip", *place, "--note", "chaos"])
    assert answer.exit_code == 0, answer.output


def down_at(chaos: Chaos, stage: str, since: int) -> re.Match[str]:
    """Waits until a stage stays down after three deaths, and reads where from the supervisor's last line."""
    chaos.until_down(stage)
    assert sum(f"{stage} " in line for line in chaos.lines[since:]) == 3, chaos.story()
    found = re.search(r"(?:item (?P<index>\d+).*)?trading skip (?P<place>\w+ \d+ \d+)", chaos.lines[-1])
    assert found is not None, chaos.story()
    return found


def test_rule_that_raises(chaos: Chaos) -> None:
    """A rule that raises on one order kills its stage three times; `trading skip` of that item lets it go on."""
    with chaos.program("risk", command=worker_command("risk", "tests.chaos.poisoned")):
        chaos.kill("risk")
        chaos.until_ready()
        told = len(chaos.lines)
        with chaos.load():
            chaos.until_said()
            chaos.produce(ORDERS, changed(client_order_id="poison"), 0)
            found = down_at(chaos, "risk", told)
            skip(chaos, *found["place"].split(), "--index", found["index"])
            chaos.start("risk")
            chaos.until_ready()
            chaos.until_said()
        chaos.audit()
    assert of_order(chaos, "poison") == []
    chaos.kill("risk")
    chaos.until_ready()


def test_garbage_in_an_inbox(chaos: Chaos) -> None:
    """An engine record that cannot be read stops the worker, and is stepped over by hand; the audit names it."""
    told = len(chaos.lines)
    offset = chaos.produce(ACCOUNT_COMMANDS, b"garbage", 1)
    found = down_at(chaos, "risk", told)
    assert found["place"] == f"risk 1 {offset}"
    skip(chaos, *found["place"].split())
    chaos.start("risk")
    with chaos.load():
        chaos.until_said()
    chaos.until_quiet()
    broken = [tally for tally in chaos.check() if tally.breaches]
    assert [(it.name, it.breaches) for it in broken] == [("records can be decoded", 1)]
    assert f"{ACCOUNT_COMMANDS} 1 at {offset}" in broken[0].examples[0]


def test_gap_and_broken_chain(chaos: Chaos) -> None:
    """A gap in what matching says, or another chain in what risk says, keeps the reader down at the first death."""
    heard = last_heard(chaos, "risk", "matching")
    gap, _ = codec.seal(Answers, (), "matching", 0, heard.sequence + 7, heard.chain)
    heard = last_heard(chaos, "matching", "risk")
    broken, _ = codec.seal(BookCommands, (), "risk", 0, heard.sequence + 1, heard.chain ^ 1)
    told = len(chaos.lines)
    places = {
        "risk": ("risk", "0", str(chaos.produce(ACCOUNT_COMMANDS, gap, 0))),
        "matching": ("matching", "0", str(chaos.produce(BOOK_COMMANDS, broken, 0))),
    }
    for stage in places:
        chaos.until_down(stage)
    assert all("stays down, a gap or a broken chain" in line for line in chaos.lines[told:]), chaos.story()
    assert len(chaos.lines[told:]) == 2
    for stage, place in places.items():
        skip(chaos, *place)
        chaos.start(stage)
    with chaos.load():
        chaos.until_said()
    chaos.until_quiet()
    tally = next(it for it in chaos.check() if it.name.startswith("records of an origin are contiguous"))
    assert tally.breaches >= 2, tally.examples


def last_heard(chaos: Chaos, stage: str, of: str) -> Heard:
    """What partition 0 of a stage had last heard of partition 0 of another, at its last checkpoint."""
    chaos.until_quiet()
    meta = decode_meta(chaos.committed(stage, 0)[1][META_KEY])
    return next(it for it in meta.heard if (it.stage, it.partition) == (of, 0))
