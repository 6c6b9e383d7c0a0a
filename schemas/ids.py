"""Ids are places in a log: an int64 of partition (9 bits), offset (42) and index in the record (12).

A trade's id is its partition (9 bits) and its number in that partition (54): one record may make more
trades than 12 bits count (a sweep), and a gapless number lets an auditor see that none is missing.
"""

PARTITION_BITS = 9
OFFSET_BITS = 42
INDEX_BITS = 12
TRADE_NUMBER_BITS = OFFSET_BITS + INDEX_BITS

PARTITIONS_MAX = 1 << PARTITION_BITS
INDEXES_MAX = 1 << INDEX_BITS


def place_id(partition: int, offset: int, index: int) -> int:
    """The id of item ``index`` of the record at ``offset`` of ``partition``; AssertionError over a cap."""
    assert 0 <= partition < PARTITIONS_MAX, f"partition {partition} has no id: at most {PARTITIONS_MAX}"
    assert 0 <= offset < 1 << OFFSET_BITS, f"offset {offset} has no id: at most 2**{OFFSET_BITS}"
    assert 0 <= index < INDEXES_MAX, f"index {index} has no id: at most {INDEXES_MAX} items a record"
    return (partition << OFFSET_BITS | offset) << INDEX_BITS | index


def place_of(identity: int) -> tuple[int, int, int]:
    """The (partition, offset, index) of an id made by ``place_id``."""
    return (
        identity >> OFFSET_BITS + INDEX_BITS,
        identity >> INDEX_BITS & (1 << OFFSET_BITS) - 1,
        identity & INDEXES_MAX - 1,
    )


def trade_id(partition: int, number: int) -> int:
    """The id of the ``number``-th trade (from 0) of a partition of the books."""
    assert 0 <= partition < PARTITIONS_MAX, f"partition {partition} has no id: at most {PARTITIONS_MAX}"
    assert 0 <= number < 1 << TRADE_NUMBER_BITS, f"trade number {number} is over the cap"
    return partition << TRADE_NUMBER_BITS | number
