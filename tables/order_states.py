"""What the projection of orders remembers: the last state of each open order, as it was said."""

from schemas.flat import FlatOrderState
from tables.section import Row, Section, Tables


class OpenOrderRow(Row, frozen=True, gc=False, array_like=True):
    """An open order; the row goes when the order closes."""

    state: FlatOrderState


class OrderStatesTables(Tables):
    """One section, by order id."""

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.orders: Section[int, OpenOrderRow] = self._section("orders", 1, int, OpenOrderRow)
