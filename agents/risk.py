"""Risk: may this account do this now? By account; its inbox is ``account-commands``."""

from agents.rules.risk import Risk
from agents.stage.fold import Stage
from schemas.topics import ACCOUNT_EVENTS, BOOK_COMMANDS, RISK_EVENTS
from tables.risk import RiskTables

RISK_STAGE = Stage(
    name="risk",
    tables=RiskTables,
    rules={1: Risk},
    channels=(BOOK_COMMANDS, ACCOUNT_EVENTS, RISK_EVENTS),
)
