"""Matching: who trades with whom, at which price. By instrument; its inbox is ``book-commands``."""

from agents.rules.matching import Matching
from agents.stage.fold import Stage
from schemas.topics import ANSWERS, BOOK_COMMANDS, MARKET_DATA, TRADES
from tables.matching import MatchingTables

MATCHING_STAGE = Stage(
    name="matching",
    tables=MatchingTables,
    rules={1: Matching},
    channels=(ANSWERS, TRADES, MARKET_DATA, BOOK_COMMANDS),
)
