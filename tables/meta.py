"""META: the place in the logs that a checkpointed state stands for, written last in each checkpoint."""

from typing import Final

import msgspec

from tables.section import Row

META_KEY: Final = b"\x00"
FORMAT: Final = 1  # of every key and value on a changelog; a worker that does not know it refuses to start


class Heard(Row, frozen=True, gc=False, array_like=True):
    """The last record applied of an origin."""

    stage: str
    partition: int
    sequence: int
    chain: int


class Said(Row, frozen=True, gc=False, array_like=True):
    """The last record said to a partition of a channel."""

    channel: str
    partition: int
    sequence: int
    chain: int


class Meta(Row, frozen=True, gc=False, array_like=True):
    """``next_offset`` is the first inbox record that is not yet in the state; ``now_ns`` engine time.

    ``restoration`` names the restore that this state came from; none for an engine that was never restored.
    """

    format: int = FORMAT
    next_offset: int = 0
    rules_version: int = 1
    now_ns: int = 0
    heard: tuple[Heard, ...] = ()
    said: tuple[Said, ...] = ()
    restoration: str = ""


_DECODER: Final = msgspec.msgpack.Decoder(Meta)
_ENCODER: Final = msgspec.msgpack.Encoder()


def encode_meta(meta: Meta) -> bytes:
    """META in the form of the changelog; without what only a restored engine has, as it always was."""
    fields = msgspec.structs.astuple(meta)
    return _ENCODER.encode(fields if meta.restoration else fields[:-1])


def decode_meta(value: bytes) -> Meta:
    """META from the changelog; ValueError for a format that this version does not know."""
    meta = _DECODER.decode(value)
    if meta.format != FORMAT:
        raise ValueError(
            f"state has format {meta.format}, this version reads {FORMAT}: start a newer version"
        )
    return meta
