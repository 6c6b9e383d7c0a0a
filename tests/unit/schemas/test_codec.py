import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from zlib import crc32

import msgspec
import pytest

from schemas import codec as serving
from schemas.codec import EncodeError, Malformed, NotFramed, UnknownSchema, generate, plain, registry
from schemas.commands import CancelOrder, PlaceOrder
from schemas.envelopes import AccountCommands, Answers, BookCommands
from schemas.events import Trade
from schemas.record import Record
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, BY_NAME
from tests.unit.schemas.engines import CODECS, each_codec
from tests.unit.schemas.records import ACCEPTED, ANSWERS, COMMANDS, FILLED, PLACE

CANCEL = CancelOrder(account="a", client_order_id="2", original_client_order_id="1", at_ns=-1)
CANCEL_VALUE = b"\0\0\0\0\2\x02a\x022\x021\x01\0"
EMPTY_COMMANDS = plain.encode(AccountCommands(items=()))
HEADER = EMPTY_COMMANDS[:5]


@each_codec
def test_a_value_is_the_confluent_wire_format(codec: ModuleType) -> None:
    """A zero byte, the schema id in four bytes, then Avro: this very value, byte for byte."""
    assert codec.encode(CANCEL) == CANCEL_VALUE
    assert codec.decode(CANCEL_VALUE) == CANCEL


@each_codec
@pytest.mark.parametrize("record", [PLACE, COMMANDS, ANSWERS], ids=lambda record: type(record).__name__)
def test_a_record_comes_back_as_it_went(codec: ModuleType, record: Record) -> None:
    """Decoding gives the very record that was encoded, of the same type."""
    again = codec.decode(codec.encode(record))
    assert again == record
    assert type(again) is type(record)


@each_codec
@pytest.mark.parametrize("value", [None, b"", b"\0\0\0\0", b"\1\0\0\0\2", b"{}", b'{"account":1}'])
def test_what_is_not_framed_is_said_so(codec: ModuleType, value: bytes | None) -> None:
    """A null, a short value, and JSON are no values of ours."""
    with pytest.raises(NotFramed):
        codec.decode(value)


@each_codec
@pytest.mark.parametrize("schema_id", [0, 9_999, 2**32 - 1])
def test_an_unknown_schema_is_said_so(codec: ModuleType, schema_id: int) -> None:
    """The error names the id that the registry does not have, and its reason is listed."""
    with pytest.raises(UnknownSchema, match=str(schema_id)) as caught:
        codec.decode(b"\0" + schema_id.to_bytes(4, "big") + CANCEL_VALUE[5:])
    assert caught.value.reason == "unknown_schema"


MALFORMED = {
    "nothing after the header": CANCEL_VALUE[:5],
    "cut inside a text": CANCEL_VALUE[:6],
    "cut inside an integer": CANCEL_VALUE[:-1] + b"\x80",
    "trailing byte": CANCEL_VALUE + b"\0",
    "integer longer than it need be": CANCEL_VALUE[:-1] + b"\x81\x00",
    "integer of 65 bits": CANCEL_VALUE[:-1] + b"\xff" * 9 + b"\x02",
    "integer of 11 bytes": CANCEL_VALUE[:-1] + b"\xff" * 10 + b"\x01",
    "integer without end": CANCEL_VALUE[:-1] + b"\xff" * 100_000,
    "text that is not UTF-8": CANCEL_VALUE.replace(b"\x02a", b"\x02\xff"),
    "text with a surrogate": CANCEL_VALUE.replace(b"\x02a", b"\x06\xed\xa0\x80"),
    "text of negative length": CANCEL_VALUE.replace(b"\x02a", b"\x01"),
    "text longer than the value": CANCEL_VALUE.replace(
        b"\x02a", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01a"
    ),
    "array of negative count": HEADER + b"\x01\x02" + EMPTY_COMMANDS[5:],
    "array of the least count": HEADER + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + EMPTY_COMMANDS[5:],
    "array of the greatest count": HEADER + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + EMPTY_COMMANDS[5:],
    "array without an end": plain.encode(COMMANDS)[:-2],
    "branch of a union above the last": HEADER + b"\x02\xfe\x01\0\0",
    "branch of a union below zero": HEADER + b"\x02\x01\0\0",
    "branch of an option above one": HEADER + b"\0\x04",
    "boolean of two": plain.encode(PLACE).replace(b"\0" * 4 + b"\0", b"\0" * 3 + b"\x02\0"),
}


@each_codec
@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_value_is_said_so(codec: ModuleType, value: bytes) -> None:
    """A value has one form, the encoder's: whatever else is an error, quickly and without much memory."""
    with pytest.raises(Malformed):
        codec.decode(value)


@each_codec
@pytest.mark.parametrize(
    "record",
    [
        CancelOrder(account="a", client_order_id="2", original_client_order_id="1", at_ns=2**63),
        CancelOrder(account="\ud800", client_order_id="2", original_client_order_id="1"),
        CancelOrder(account=1, client_order_id="2", original_client_order_id="1"),  # type: ignore[arg-type]
        BookCommands(items=(PLACE,)),  # type: ignore[arg-type]
        ACCEPTED,
    ],
    ids=["over int64", "surrogate", "no text", "not of the union", "not of a topic"],
)
def test_what_the_schema_cannot_hold_is_refused(codec: ModuleType, record: Record) -> None:
    """A record that no reader could read is never written."""
    with pytest.raises(EncodeError):
        codec.encode(record)


@each_codec
def test_a_sealed_value_carries_its_origin_and_chain(codec: ModuleType) -> None:
    """The chain is the crc32 of the chain before and of all bytes but the last four, which are the chain."""
    value, chain = codec.seal(Answers, [ACCEPTED, FILLED], "matching", 3, 17, 12345)
    assert chain == crc32(value[:-4], 12345) == codec.chain_of(value, 12345)
    record = codec.decode(value)
    assert record.items == (ACCEPTED, FILLED)
    assert (record.origin.stage, record.origin.partition) == ("matching", 3)
    assert (record.origin.sequence, record.origin.chain) == (17, chain)
    assert codec.encode(record) == value


@each_codec
def test_sealing_refuses_what_encoding_refuses(codec: ModuleType) -> None:
    """An item that the envelope has no room for is an EncodeError here too."""
    with pytest.raises(EncodeError):
        codec.seal(Answers, [PLACE], "matching", 0, 0, 0)


def test_verify_tells_the_right_predecessor() -> None:
    """A value follows the one whose chain it was sealed with, and no other; a changed byte is seen."""
    value, _ = serving.seal(Answers, [ACCEPTED], "matching", 0, 1, 7)
    assert serving.verify(value, 7)
    assert not serving.verify(value, 8)
    assert not serving.verify(value.replace(b"account-1", b"account-2"), 7)


def test_one_value_serves_both_inboxes_of_accounts() -> None:
    """Matching's answers are encoded once: the same bytes are a value of both topics."""
    for topic in (ACCOUNT_COMMANDS, ACCOUNT_EVENTS):
        assert Answers in BY_NAME[topic].records


def _older(folder: Path, name: str) -> None:
    """Makes the first release of a type one whose PlaceOrder ended before ``client``."""
    file = folder / "released" / f"{name}.v1.avsc"
    schema = json.loads(file.read_text())
    place = schema if name == "place_order" else schema["fields"][0]["type"]["items"][0]
    assert place["fields"].pop()["name"] == "client"
    file.write_text(json.dumps(schema))


@pytest.mark.parametrize("name", ["place_order", "account_commands"])
def test_a_value_of_an_older_release_is_read(tmp_path: Path, name: str) -> None:
    """A field that the writer did not know takes its default; new values go under the new id."""
    generate.write(tmp_path, release=True)
    _older(tmp_path, name)
    older = plain.Codec(tmp_path)
    written = msgspec.structs.replace(PLACE, client="acme")
    record: Record = written if name == "place_order" else AccountCommands(items=(written,))
    value = older.encode(record)
    generate.write(tmp_path, release=True)
    newer = plain.Codec(tmp_path)
    read = newer.decode(value)
    place = read if isinstance(read, PlaceOrder) else read.items[0]  # type: ignore[attr-defined]
    assert place.client is None
    assert place.client_order_id == PLACE.client_order_id
    assert newer.encode(read)[:5] != value[:5]
    with pytest.raises(UnknownSchema):
        older.decode(newer.encode(read))


def _engine(**environment: str) -> str:
    command = [sys.executable, "-c", "import schemas.codec; print(schemas.codec.ENGINE)"]
    run = subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=registry.CODEC.parent.parent,
    )
    return run.stdout.strip()


def test_the_environment_chooses_fastavro() -> None:
    """TRADING_CODEC=fastavro turns the compiled codec off; else the one that is built serves."""
    assert _engine(TRADING_CODEC="fastavro") == "fastavro"
    assert _engine(TRADING_CODEC="") == serving.ENGINE == ("compiled" if len(CODECS) > 1 else "fastavro")


def test_without_cython_the_build_ends_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installation without the compiler's packages goes on with fastavro, and says so."""
    from schemas.codec import build

    monkeypatch.setattr(build, "ENGINE", "fastavro")
    monkeypatch.setitem(sys.modules, "Cython.Build", None)
    build.main()
    assert "fastavro serves" in capsys.readouterr().err


@each_codec
def test_no_reference_is_lost_or_leaked(codec: ModuleType) -> None:
    """A class is referred to by its living instances only, also when decoding fails half-way."""
    value = codec.encode(ANSWERS)
    codec.decode(value)
    before = sys.getrefcount(Trade), sys.getrefcount(type(ACCEPTED)), sys.getrefcount(type(FILLED))
    for cut in range(5, len(value)):
        with pytest.raises(Malformed):
            codec.decode(value[:cut])
        codec.decode(value)
    assert (sys.getrefcount(Trade), sys.getrefcount(type(ACCEPTED)), sys.getrefcount(type(FILLED))) == before
