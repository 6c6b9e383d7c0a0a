"""The codec: records to values of a topic and back, in the Confluent wire format.

``encode(record)``, ``decode(value)``, and for a stage's records ``seal`` and ``verify``. The compiled engine
serves where it has been built, fastavro otherwise; both write the same bytes and read the same records.
"""

from schemas.codec.engine import ENGINE, chain_of, decode, encode, seal, verify
from schemas.codec.errors import CodecError, DecodeError, EncodeError, Malformed, NotFramed, UnknownSchema

__all__ = [
    "ENGINE",
    "CodecError",
    "DecodeError",
    "EncodeError",
    "Malformed",
    "NotFramed",
    "UnknownSchema",
    "chain_of",
    "decode",
    "encode",
    "seal",
    "verify",
]
