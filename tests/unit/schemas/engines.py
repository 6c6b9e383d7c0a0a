"""The codecs that a test is run on: fastavro's always, the compiled one where it has been built."""

from types import ModuleType

import pytest

from schemas.codec import ENGINE, DecodeError, plain
from schemas.record import Record

CODECS: list[ModuleType] = [plain]
if ENGINE == "compiled":
    from schemas.codec import _compiled

    CODECS.append(_compiled)

each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.__name__.rpartition(".")[2])


def outcome(codec: ModuleType, value: bytes) -> Record | type[DecodeError]:
    """The record of a value, or the class of the error; any other exception fails the test."""
    try:
        record: Record = codec.decode(value)
    except DecodeError as error:
        return type(error)
    return record
