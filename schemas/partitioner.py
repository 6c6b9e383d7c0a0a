"""The engine's own partitioner: producers of inboxes use it, whatever their client's default is."""

from zlib import crc32


def partition_of(key: str, count: int) -> int:
    """The partition of an account or an instrument: crc32 of its ASCII bytes, modulo the count."""
    return crc32(key.encode("ascii")) % count
