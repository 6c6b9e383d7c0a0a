"""Settlement: what does everybody hold and owe now? By account; its inbox is ``account-events``."""

from agents.rules.settlement import Settlement
from agents.stage.fold import Stage
from schemas.topics import ACCOUNT_COMMANDS, SETTLEMENT_EVENTS
from tables.settlement import SettlementTables

SETTLEMENT_STAGE = Stage(
    name="settlement",
    tables=SettlementTables,
    rules={1: Settlement},
    channels=(SETTLEMENT_EVENTS, ACCOUNT_COMMANDS),
)
