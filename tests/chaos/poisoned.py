"""`trading` with a defect in risk's rules: they raise on an order whose id begins with `poison`."""

from typing import Any

from agents.risk import RISK_STAGE
from agents.rules.outbox import Outbox, Place
from agents.rules.risk import Risk
from infra.cli import main
from schemas.commands import PlaceOrder


class PoisonedRisk(Risk):
    """Risk with a defect."""

    def apply(self, item: Any, place: Place, outbox: Outbox) -> None:
        """Raises on the poison."""
        if isinstance(item, PlaceOrder) and item.client_order_id.startswith("poison"):
            raise ZeroDivisionError("poisoned")
        super().apply(item, place, outbox)


if __name__ == "__main__":
    RISK_STAGE.rules[1] = PoisonedRisk
    main(prog_name="trading")
