"""The command line: quick help, a missing module that hurts nobody, errors in one line."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from infra import cli
from infra.cli import main


def test_help_imports_no_command() -> None:
    """`trading --help` lists the commands without importing Kafka's clients or any command's module."""
    script = (
        "import sys; from infra.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith(('confluent', 'faust', 'infra.commands.'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "topics" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_missing_module_hides_only_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose module is not installed is unknown; the others work."""
    monkeypatch.setitem(cli.COMMANDS, "absent", ("infra.commands.absent:absent", "Is not there."))
    assert "absent" not in CliRunner().invoke(main, ["--help"]).output
    assert "No such command 'absent'" in CliRunner().invoke(main, ["absent"]).output
    assert CliRunner().invoke(main, ["topics", "--help"]).exit_code == 0


@pytest.mark.parametrize(
    "words", [["up"], ["broker"], ["topics"], ["topics", "create"], ["topics", "list"]], ids=" ".join
)
def test_help_has_an_example(words: list[str]) -> None:
    """Every command's help shows an example."""
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output


def test_bad_setting_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's error ends in one line naming the variable, with code 1 and no traceback."""
    monkeypatch.setenv("TRADING_ACCOUNT_PARTITIONS", "many")
    result = CliRunner().invoke(main, ["topics", "list"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: TRADING_ACCOUNT_PARTITIONS=many: ")
    assert len(result.output.splitlines()) == 1


def test_broker_for_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cluster's address the embedded broker is refused, with the variable to set."""
    monkeypatch.setenv("TRADING_KAFKA_BOOTSTRAP", "kafka1:9092")
    result = CliRunner().invoke(main, ["broker"])
    assert result.exit_code == 1
    assert "TRADING_EMBEDDED_BROKER=false" in result.output


def test_topics_create_and_list_as_json(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`topics create` names what it made, a second run makes nothing, and `list` shows the counts."""
    monkeypatch.setenv("TRADING_KAFKA_BOOTSTRAP", broker)
    made = json.loads(CliRunner().invoke(main, ["topics", "create", "--json"]).output)
    assert json.loads(CliRunner().invoke(main, ["topics", "create", "--json"]).output) == []
    listed = json.loads(CliRunner().invoke(main, ["topics", "list", "--json"]).output)
    assert set(made) <= set(listed)
    assert all(row["partitions"] == row["partitions_on_cluster"] for row in listed.values())
