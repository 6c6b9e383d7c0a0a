"""Which codec serves: the compiled one where it is built, unless TRADING_CODEC=fastavro says otherwise."""

import os
import warnings

from schemas.codec.plain import CHAIN_BYTES, chain_of, decode, encode, seal

__all__ = ["ENGINE", "chain_of", "decode", "encode", "seal", "verify"]

ENGINE = "fastavro"
if os.environ.get("TRADING_CODEC") != ENGINE:
    try:
        from schemas.codec._compiled import chain_of, decode, encode, seal

        ENGINE = "compiled"
    except ModuleNotFoundError:
        pass
    except ImportError as stale:
        warnings.warn(f"fastavro serves: {stale}", stacklevel=1)


def verify(value: bytes, chain: int) -> bool:
    """Whether a sealed value follows the one whose chain is given."""
    return chain_of(value, chain) == int.from_bytes(value[-CHAIN_BYTES:], "big")
