"""All stages in one process, with no log between: what ``trading simulate`` and the property tests run.

It does what the machinery of the stages does with an inbox: one place for each record, one list of items
for each (record, destination), engine time the greatest that the partition has seen.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from agents.rules.control import Control
from agents.rules.matching import Matching
from agents.rules.outbox import Outbox, Place
from agents.rules.risk import Risk
from agents.rules.settlement import Settlement
from schemas.commands import AccountCommand, ControlCommand
from schemas.partitioner import partition_of
from schemas.record import Record
from schemas.topics import (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    BOOK_COMMANDS,
    CHANNELS,
    CONTROL,
    PartitionCounts,
)
from tables.control import ControlTables
from tables.matching import MatchingTables
from tables.risk import RiskTables
from tables.section import Tables
from tables.settlement import SettlementTables

Watch = Callable[[str, int, Sequence[Record]], None]
"""Sees what is said, in order: channel, partition, and the items of one record."""
Inbox = tuple[str, int]
"""A topic and a partition of it."""

_STAGES: Final[dict[str, tuple[type[Tables], Callable[[Any, PartitionCounts, int], Any]]]] = {
    CONTROL: (ControlTables, Control),
    ACCOUNT_COMMANDS: (RiskTables, Risk),
    BOOK_COMMANDS: (MatchingTables, Matching),
    ACCOUNT_EVENTS: (SettlementTables, Settlement),
}


class Reader:
    """One partition of one stage: its state, its rules, and how far it has read."""

    def __init__(self, inbox: Inbox, counts: PartitionCounts) -> None:
        """Starts empty."""
        self.topic, self.partition = inbox
        self.counts = counts
        self.tables = _STAGES[self.topic][0]()
        self.offset = 0
        self.now_ns = 0
        self.rules = self._derive()

    def read(self, items: Sequence[Any]) -> Outbox:
        """Applies one record."""
        outbox = Outbox()
        for index, item in enumerate(items):
            self.now_ns = max(self.now_ns, item.at_ns)
            self.rules.apply(item, Place(self.partition, self.offset, index, self.now_ns), outbox)
        self.offset += 1
        return outbox

    def restore(self) -> None:
        """Goes on with nothing but what a changelog would have kept."""
        entries = list(self.tables.entries())
        self.tables = _STAGES[self.topic][0]()
        for key, value in entries:
            self.tables.load(key, value)
        self.rules = self._derive()

    def _derive(self) -> Any:
        return _STAGES[self.topic][1](self.tables, self.counts, self.partition)


class Pipeline:
    """The stages with their inboxes; ``send`` runs whatever follows to its end."""

    def __init__(self, counts: PartitionCounts, watch: Watch) -> None:
        """Starts empty."""
        self.counts = counts
        self.readers: dict[Inbox, Reader] = {}
        for topic, count in (
            (CONTROL, 1),
            (ACCOUNT_COMMANDS, counts.accounts),
            (BOOK_COMMANDS, counts.books),
            (ACCOUNT_EVENTS, counts.accounts),
        ):
            for partition in range(count):
                self.readers[topic, partition] = Reader((topic, partition), counts)
        self._watch = watch
        self._waiting: deque[tuple[Inbox, Sequence[Record]]] = deque()

    def send(self, *commands: AccountCommand | ControlCommand) -> None:
        """Takes commands in order, then everything that follows from them.

        A mass cancel without account, an operator's, goes by control; one with account to its own inbox.
        """
        self.put(*commands)
        while self._waiting:
            self.step(*self._next())

    def put(self, *commands: AccountCommand | ControlCommand) -> None:
        """Leaves commands in their inboxes, a record each."""
        for command in commands:
            account = getattr(command, "account", None)
            if isinstance(command, AccountCommand) and isinstance(account, str):
                inbox = ACCOUNT_COMMANDS, partition_of(account, self.counts.accounts)
            else:
                inbox = CONTROL, 0
            self._waiting.append((inbox, (command,)))

    def step(self, inbox: Inbox, items: Sequence[Record]) -> None:
        """Reads one record, and leaves what it says in the inboxes that it is for."""
        for (channel, partition), said in self.readers[inbox].read(items).items.items():
            self._watch(channel, partition, said)
            for topic in CHANNELS[channel].topics:
                if (topic, partition) in self.readers:
                    self._waiting.append(((topic, partition), said))

    def _next(self) -> tuple[Inbox, Sequence[Record]]:
        """The record to read next: the oldest. A test may take another, but of one inbox the oldest."""
        return self._waiting.popleft()
