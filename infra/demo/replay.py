"""The session sent through a running engine at a steady rate, while each stage's worker is killed once.

The order of the recording is the market's time priority, and Kafka keeps an order within a partition only:
so the demo's engine has one account partition, and its intake and risk see the file's order.
"""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from infra.demo.accounts import ACCOUNT_NAMES, SYMBOL, mark, reference
from infra.demo.collector import Collector
from infra.demo.kafka import DemoError, Outlet, Tap
from infra.demo.killer import Killer
from infra.demo.latency import Sample
from infra.demo.report import StageKill
from infra.demo.session import Session
from infra.engine import Engine

OnProgress = Callable[[int, int], object]

_READ_WAIT_S: Final = 0.002
_SEND_AT_ONCE: Final = 200  # after a pause: small enough to go on reading meanwhile
_IN_FLIGHT_MAX: Final = (
    20_000  # what a stage that restarts finds waiting, and what holds margin, stays bounded
)
_WARM_UP_S: Final = 3  # until the broker and the workers run at speed
_NS_PER_S: Final = 1_000_000_000


class Replay:
    """One run of the session; ``prepare`` and then ``run``, both from the engine's own thread."""

    def __init__(
        self, engine: Engine, session: Session, rate: int, timeout_s: float, on_progress: OnProgress
    ) -> None:
        """``rate`` is in commands a second; ``timeout_s`` is the longest of each wait.

        ``on_progress`` gets (answers, commands). The sinks' servers are started behind the first kill: beside the
        session's peace, three servers that start on two cores would be what its latency shows.
        """
        self.collector = Collector()
        self.start_ns = self.end_ns = 0
        self._engine, self._session = engine, session
        self._rate, self._timeout_s, self._on_progress = rate, timeout_s, on_progress
        self._outlet = Outlet(engine.settings)
        self._tap = Tap(engine.settings, self.collector)
        self._killer = Killer(
            engine.supervisor, self.collector.said, self.collector.repeats, len(session.commands)
        )
        self._sent_ns: list[int] = []
        self._prepared = 0
        self._has_sinks = False

    def prepare(self) -> None:
        """Define the instrument and the accounts, set the mark, and deposit the cash."""
        now_ns = time.time_ns()
        definitions = reference(now_ns)
        self._outlet.operate((*definitions, mark(self._session.opening_mark_ticks, now_ns)))
        self._outlet.flush()
        self._wait("control's answers", lambda: len(self.collector.answered_ns) > len(definitions))
        self._wait("accounts at risk", lambda: len(self.collector.defined) == len(ACCOUNT_NAMES))
        self._wait("the mark at risk", lambda: SYMBOL in self.collector.marks)
        cash = [msgspec.structs.replace(each, at_ns=now_ns) for each in self._session.deposits]
        self._outlet.deposit(cash)
        self._outlet.flush()
        answered = self.collector.answered_ns
        self._wait("deposits", lambda: all(each.command_id in answered for each in cash))
        self._prepared = len(answered)

    def run(self) -> None:
        """Send everything, kill as planned, wait until every command is answered and every fill settled."""
        commands = len(self._session.commands)
        self.start_ns = time.monotonic_ns()
        while len(self._sent_ns) < commands:
            self._send_due()
            self._turn()
        self._wait("answers", lambda: self._answers() >= commands)
        self.end_ns = time.monotonic_ns()
        self._wait("settlement of fills", self._is_settled)
        self._wait("every stage back from its kill", lambda: self._killer.step(commands))
        ends = (
            self._tap.ends()
        )  # answers and market data are topics of their own: one may be read before the other
        self._wait("all that was said", lambda: self._tap.has_read(ends))

    def kills(self) -> list[StageKill]:
        """Each kill, with the repeats that its stage made in all; one without any was followed by another."""
        return [
            StageKill(
                killed.stage,
                (killed.at_ns - self.start_ns) / _NS_PER_S,
                (killed.ready_ns - killed.at_ns) / _NS_PER_S,
                self.collector.repeats[killed.stage] if killed.has_repeated else 0,
            )
            for killed in self._killer.killed
        ]

    def answered(self) -> int:
        """How many of the session's commands have an answer."""
        return sum(each.client_order_id in self.collector.answered_ns for each in self._session.commands)

    def samples(self) -> list[Sample]:
        """From when each command was to be sent until its first answer was read."""
        answered_ns = self.collector.answered_ns
        return [
            Sample(sent_ns, answered_ns[command.client_order_id] - sent_ns)
            for command, sent_ns in zip(self._session.commands, self._sent_ns, strict=True)
            if command.client_order_id in answered_ns
        ]

    def samples_in_peace(self) -> list[Sample]:
        """Give those that were sent after the warm-up and answered before the first kill."""
        first_ns = self.start_ns + _WARM_UP_S * _NS_PER_S
        last_ns = min((killed.at_ns for killed in self._killer.killed), default=self.end_ns)
        return [
            sample
            for sample in self.samples()
            if first_ns <= sample.sent_ns and sample.sent_ns + sample.latency_ns < last_ns
        ]

    def close(self) -> None:
        """Leave Kafka."""
        self._tap.close()

    def _send_due(self) -> None:
        """Send what is due by the rate; each is stamped with the time at which it was due."""
        sent = len(self._sent_ns)
        due = (time.monotonic_ns() - self.start_ns) * self._rate // _NS_PER_S
        most = min(sent + _SEND_AT_ONCE, self._answers() + _IN_FLIGHT_MAX, len(self._session.commands))
        for number in range(sent, min(due, most)):
            self._outlet.order(self._session.commands[number])
            self._sent_ns.append(self.start_ns + number * _NS_PER_S // self._rate)

    def _turn(self) -> None:
        self._outlet.serve()
        self._tap.read(_READ_WAIT_S)
        self._engine.step()
        self._killer.step(len(self._sent_ns))
        if self._killer.killed and not self._has_sinks:
            self._has_sinks = True
            self._engine.start_sinks()
        self._on_progress(self._answers(), len(self._session.commands))

    def _answers(self) -> int:
        return max(0, len(self.collector.answered_ns) - self._prepared)

    def _is_settled(self) -> bool:
        return self.collector.fills == self.collector.confirmed == 2 * len(self.collector.trades)

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not condition():
            if time.monotonic() > deadline:
                logs = self._engine.settings.data_folder / "logs"
                raise DemoError(f"{what}: not there after {self._timeout_s} s; see {logs}")
            self._turn()
