"""What the codec raises, and nothing else."""

from typing import ClassVar


class CodecError(ValueError):
    """The base of the codec's errors."""


class EncodeError(CodecError):
    """A record that its schema cannot hold: a wrong type, an integer outside int64, a lone surrogate."""


class DecodeError(CodecError):
    """Bytes that are no record; ``reason`` is one of ``schemas.reasons.CODES``."""

    reason: ClassVar[str] = "undecodable"


class NotFramed(DecodeError):
    """The value does not begin with a zero byte and a four-byte schema id."""


class UnknownSchema(DecodeError):
    """No schema of this id is registered: written by a newer engine, or by a stranger."""

    reason: ClassVar[str] = "unknown_schema"


class Malformed(DecodeError):
    """The bytes are not what the schema's encoder writes: cut, trailing, overlong, out of range."""
