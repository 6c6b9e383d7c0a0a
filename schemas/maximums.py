"""Every maximum, with its reason."""

INT64_MAX = 2**63 - 1  # Avro long, Postgres bigint, Java long

IDENTIFIER_LENGTH = 64  # fits FIX ids in use and keeps keys short; printable ASCII without spaces

COMMANDS_PER_RECORD = 64  # intake packs what a batch holds for one partition; small enough to skip by item
ORDERS_PER_RECORD = 500  # expiry and mass cancel: bounds one record's time (ms) and size (under 200 KB)
FILLS_PER_RECORD = 20_000  # a sweep: two fills of ~250 bytes a trade stay under RECORD_BYTES
ELECTIONS_PER_RECORD = 500  # stops elected in one record; the rest goes on by a continuation
SETTLEMENTS_PER_RECORD = 500  # cash released and variations posted in one record; the rest with the next tick
EVICTIONS_PER_RECORD = (
    2_000  # closed ids dropped at one tick, a few more to end a batch: 1 ms, 20,000/s at 10 ticks/s
)
EXAMINED_PER_RECORD = 25  # accounts that one tick values in turn: some 0.2 ms, while orders wait
PENDING_REPLACES = 64  # unanswered replaces of one order: its row stays far under VALUE_BYTES
RECORD_BYTES = 16 * 2**20  # message.max.bytes of every engine topic
ORDER_BYTES = 2**20  # the same of `orders`: whatever strangers write there must fit into a dead letter

VALUE_BYTES = 64 * 2**10  # one table value: a checkpoint stays a burst of small writes
MESSAGE_RATE_WINDOW_NS = 1_000_000_000  # limits per second count in this window
NANOSECONDS_PER_DAY = 86_400 * 1_000_000_000
COMMAND_WINDOW_NS = NANOSECONDS_PER_DAY  # how long ids of closed commands are kept, and how old one may be
BASIS_POINTS = 10_000
