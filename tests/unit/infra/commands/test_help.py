"""Every command of the desk explains itself, and says in one line when Kafka is not there."""

import pytest
from click.testing import CliRunner

from infra.cli import main

COMMANDS = (
    "send",
    "status",
    "accounts",
    "accounts apply",
    "accounts list",
    "instruments",
    "instruments apply",
    "instruments list",
    "deposit",
    "withdraw",
    "limits",
    "kill",
    "halt",
    "resume",
    "mass-cancel",
    "mark",
    "dead-letters",
    "dead-letters list",
    "dead-letters show",
    "dead-letters replay",
    "skip",
    "audit",
    "audit keygen",
    "audit verify",
    "audit trail",
    "report",
    "reconcile",
    "archive",
    "archive list",
    "archive export",
    "archive verify",
    "archive compact",
)
CALLS = (
    "status",
    "instruments list",
    "deposit alice USD 1",
    "limits alice --maximum-open-orders 1",
    "kill --yes",
    "halt",
    "mark X 1",
    "dead-letters list",
    "skip risk 0 0 --note why",
    "audit trail --account alice",
    "report trades --day 2026-11-25 --out .",
    "reconcile --against kafka",
)


@pytest.mark.parametrize("words", COMMANDS)
def test_help_has_an_example(words: str) -> None:
    """Each command's help says what it does and shows an example."""
    result = CliRunner().invoke(main, [*words.split(), "--help"])
    assert result.exit_code == 0
    assert f"trading {words.split(maxsplit=1)[0]}" in result.output.partition("Example:")[2]


@pytest.mark.parametrize("words", CALLS)
def test_silent_kafka_is_one_line(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody answers, one line names the address and what to do, and the code is 1."""
    monkeypatch.setenv("TRADING_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setattr("infra.cluster.CONNECT_TIMEOUT_S", 0.3)
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 1
    assert result.output.startswith("Error: Kafka at 127.0.0.1:9 does not answer")
    assert "trading up" in result.output
    assert len(result.output.splitlines()) == 1


def test_kill_of_everyone_asks_first() -> None:
    """Without --yes nobody is killed by a slip of the hand."""
    result = CliRunner().invoke(main, ["kill"], input="n\n")
    assert result.exit_code == 1
    assert "cancels all orders of everyone" in result.output


def test_mass_cancel_wants_a_filter() -> None:
    """A mass cancel without a filter would be a kill that lets new orders in: it is refused."""
    result = CliRunner().invoke(main, ["mass-cancel"])
    assert result.exit_code == 1
    assert "name an account, an instrument or a side" in result.output


@pytest.mark.parametrize("bound", ["many", "-1", str(2**63)])
def test_limits_are_counts(bound: str) -> None:
    """A bound is a whole number of an int64, or none."""
    result = CliRunner().invoke(main, ["limits", "alice", "--maximum-open-orders", bound])
    assert result.exit_code == 2
    assert "neither a whole number from 0 to" in result.output
