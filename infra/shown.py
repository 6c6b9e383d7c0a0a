"""Records of a topic as an operator sees them."""

from typing import Any

import msgspec

from schemas.record import Record


def shown(record: Record) -> dict[str, Any]:
    """Give a record, or an item of one, with the name of its type; bytes are base64."""
    return {"type": type(record).__name__, **msgspec.to_builtins(record)}
