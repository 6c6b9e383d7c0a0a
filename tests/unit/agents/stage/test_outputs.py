"""What a worker says, where nobody takes it."""

import pytest

from agents.stage import outputs
from agents.stage.errors import DeliveryFailed
from infra.processes import LOOPBACK, free_ports


def test_silence_is_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that nobody acknowledges ends the wait with the place that is silent, instead of never."""
    monkeypatch.setattr(outputs, "STALL_S", 0.2)
    said = outputs.Outputs({"bootstrap.servers": f"{LOOPBACK}:{free_ports(1)[0]}", "log_level": 0})
    said.produce("trades", 3, b"value")
    with pytest.raises(DeliveryFailed, match="trades 3: nothing was acknowledged"):
        said.wait(said.mark())


def test_nothing_said_is_nothing_to_wait_for() -> None:
    """Where all is acknowledged, which nothing is, the wait ends at once."""
    said = outputs.Outputs({"bootstrap.servers": f"{LOOPBACK}:{free_ports(1)[0]}", "log_level": 0})
    said.wait(said.mark())
