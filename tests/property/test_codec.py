import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from schemas.codec import plain
from schemas.record import Record
from tests.unit.schemas.engines import CODECS, outcome
from tests.unit.schemas.records import ANSWERS, COMMANDS, PLACE, wire_records


@settings(max_examples=400, deadline=None)
@given(record=wire_records)
def test_every_codec_writes_the_same_and_reads_it_back(record: Record) -> None:
    """Any record of any wire type has one value, whichever codec wrote it, and comes back from it."""
    value = plain.encode(record)
    for codec in CODECS:
        assert codec.encode(record) == value
        assert codec.decode(value) == record


@settings(max_examples=300, deadline=None)
@given(record=wire_records)
def test_no_value_can_be_cut_or_prolonged(record: Record) -> None:
    """Every beginning of a value, and a value with a byte behind it, is an error in every codec."""
    value = plain.encode(record)
    for wrong in (value[: len(value) // 2], value[:-1], value + b"\0"):
        for codec in CODECS:
            assert isinstance(outcome(codec, wrong), type)


NASTY = (
    b"\xff" * 10,
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\x0f",
    b"\x80\x00",
    b"\x01",
    b"\x7f",
    b"\xc3\x28",
)


def _mutations(value: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    for _ in range(count):
        at = chance.randrange(5, len(value))
        match chance.randrange(5):
            case 0:
                yield value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :]
            case 1:
                yield value[:at]
            case 2:
                yield value[:at] + chance.choice(NASTY) + value[at:]
            case 3:
                yield value[:at] + chance.choice(NASTY) + value[at + 1 :]
            case _:
                end = chance.randrange(at, len(value))
                yield value[:at] + value[end:] + chance.randbytes(end - at)


@pytest.mark.parametrize("record", [PLACE, COMMANDS, ANSWERS], ids=lambda record: type(record).__name__)
def test_every_codec_says_the_same_of_a_damaged_value(record: Record) -> None:
    """Flipped, cut, prolonged or shuffled: a record equal in all codecs, or the same class of error."""
    value = plain.encode(record)
    errors = 0
    for damaged in _mutations(value, random.Random(7), 10_000):
        first, *others = (outcome(codec, damaged) for codec in CODECS)
        assert all(other == first for other in others), damaged
        errors += isinstance(first, type)
    assert 1_000 < errors < 10_000
