from random import Random

import msgspec
import pytest

from agents.intake import Intake
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord
from infra.archive.in_flight import not_taken
from infra.auditor.log import LogRecord, Place
from schemas import codec, envelopes
from schemas.commands import PlaceOrder
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, DEAD_LETTERS, ORDERS
from tests.unit.infra.auditor.engine import MemoryLog

PARTITIONS = 2
OWN = "orders.acme"
PLACES = [
    (topic, it) for topic in (ORDERS, OWN, ACCOUNT_COMMANDS, ACCOUNT_EVENTS) for it in range(PARTITIONS)
]


def order(account: str, number: int) -> PlaceOrder:
    """A sound order, but for number 3 of each ten, which has a quantity that no order may have."""
    return PlaceOrder(
        account=account,
        client_order_id=f"c{number}",
        instrument="BTC",
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=0 if number % 10 == 3 else 1,
        price_ticks=1,
    )


class Gate:
    """Orders on their topics, and what intake has said to those that it has taken."""

    def __init__(self) -> None:
        self.log = MemoryLog({place: [] for place in [*PLACES, (DEAD_LETTERS, 0)]})
        self._intake = Intake(PARTITIONS)
        self.taken = {place: 0 for place in PLACES if place[0] in (ORDERS, OWN)}

    def append(self, place: Place, value: bytes | None, at_ms: int) -> None:
        """A record comes in."""
        records = self.log.records[place]
        records.append(LogRecord(len(records), at_ms, None, value))

    def take(self, place: Place, count: int, late_ms: int) -> None:
        """Intake answers the next orders, by a clock that is not the broker's."""
        records = self.log.records[place][self.taken[place] :][:count]
        if records:
            batch = Batch(*place, [InboxRecord(*it) for it in records])
            for topics, partition, value, _ in self._intake.decide(batch):
                self.append((topics[0], partition), value, records[-1].timestamp_ms + late_ms)
            self.taken[place] += len(records)

    def found(self) -> dict[Place, int]:
        """What is found out from the log alone."""
        return not_taken(self.log, {place: self.log.bounds(place) for place in self.log.records})


@pytest.mark.parametrize("seed", range(20))
def test_intake_goes_on_behind_what_it_had_taken(seed: int) -> None:
    """Sound and refused orders, garbage, one id twice in a millisecond, gateways, a clock that is behind."""
    chance, gate = Random(seed), Gate()
    for number in range(300):
        place = chance.choice(sorted(gate.taken))
        value = codec.encode(order(f"account-{chance.randrange(4)}", number))
        copies = 2 if chance.random() < 0.1 else 1
        for _ in range(copies):
            gate.append(place, chance.choice([value, value, value, b"garbage", None]), number // 3)
        if chance.random() < 0.1:
            by_gateway = msgspec.structs.replace(order("account-1", number), at_ns=number)
            said = codec.encode(envelopes.AccountCommands(items=(by_gateway,)))
            gate.append((ACCOUNT_COMMANDS, 0), said, number)
        if chance.random() < 0.3:
            gate.take(chance.choice(sorted(gate.taken)), chance.randint(1, 20), chance.randint(-50, 50))
    assert gate.found() == gate.taken
    for place in gate.taken:
        gate.take(place, 1_000, 0)
    assert gate.found() == {place: len(gate.log.records[place]) for place in gate.taken}
