"""The states of orders, for databases: a stage beside settlement over the same inbox, that nothing waits for."""

from functools import partial

from agents.rules.order_states import OrderStates
from agents.stage.fold import Stage
from schemas.topics import ORDER_STATES
from tables.order_states import OrderStatesTables


def order_states_stage(epoch: int) -> Stage:
    """The stage of an engine of this epoch."""
    return Stage(
        name=ORDER_STATES,
        tables=OrderStatesTables,
        rules={OrderStates.VERSION: partial(OrderStates, epoch=epoch)},
        channels=(),
        is_flat=True,
    )
