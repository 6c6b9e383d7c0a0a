"""Where segments are cut, and what a seal states."""

import subprocess
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.audit import (
    FIRST,
    NOTHING,
    QUIET_MS,
    SEGMENT_MS,
    SEGMENT_OFFSETS,
    Chain,
    Sealed,
    leaf,
    leaf_prefix,
    seal_text,
)
from infra.sealing.keys import generate, private
from infra.settings import Settings


class Stamped(NamedTuple):
    """A record."""

    offset: int
    timestamp_ms: int
    value: bytes | None = b"v"


class Signer:
    """Signs by a hash, which is enough where nobody forges."""

    key_id = "test"

    def sign(self, text: bytes) -> bytes:
        """Equal texts, equal signatures."""
        return sha256(b"signed" + text).digest() * 2


def sealed(*records: Stamped, last: Chain | None = None) -> list[Sealed]:
    """The seals of a chain of these records, the open segment closed at the end."""
    chain = last or Chain("trades", 3, 0, None, Signer())
    made = list(chain.take(records))
    return [*made, chain.close()] if chain.segment else made


def test_leaf_covers_place_time_and_value_without_ambiguity() -> None:
    """Topic, partition, offset, time, value, and whether there is a value at all: each changes the leaf."""
    base = leaf(leaf_prefix("ab", 1), 2, 3, b"x")
    others = [
        leaf(leaf_prefix("ac", 1), 2, 3, b"x"),
        leaf(leaf_prefix("ab", 0), 2, 3, b"x"),
        leaf(leaf_prefix("ab", 1), 3, 3, b"x"),
        leaf(leaf_prefix("ab", 1), 2, 4, b"x"),
        leaf(leaf_prefix("ab", 1), 2, 3, b"y"),
        leaf(leaf_prefix("ab", 1), 2, 3, b""),
        leaf(leaf_prefix("ab", 1), 2, 3, None),
    ]
    assert len({base, *others}) == 8
    spelt = b"trading-leaf-1\x00\x02ab\x00\x00\x00\x01" + bytes(7) + b"\x02" + bytes(7) + b"\x03\x01x"
    assert base == sha256(spelt).digest()


@pytest.mark.parametrize(
    ("records", "cuts"),
    [
        ([(0, 0), (1, SEGMENT_MS - 1)], [(0, 1)]),
        ([(0, 0), (1, SEGMENT_MS)], [(0, 0), (1, 1)]),
        ([(0, SEGMENT_MS - 1), (1, SEGMENT_MS)], [(0, 0), (1, 1)]),
        ([(0, 0), (1, 9 * SEGMENT_MS), (2, 3)], [(0, 0), (1, 2)]),
        ([(0, 0), (SEGMENT_OFFSETS - 1, 0)], [(0, SEGMENT_OFFSETS - 1)]),
        ([(0, 0), (SEGMENT_OFFSETS, 0)], [(0, 0), (1, SEGMENT_OFFSETS)]),
        ([(5, 0)], [(0, 5)]),
    ],
)
def test_segment_is_a_minute_or_so_many_offsets(
    records: list[tuple[int, int]], cuts: list[tuple[int, int]]
) -> None:
    """A later minute or too many offsets begin a segment; a time that runs back does not; seals leave no offset out."""
    made = sealed(*(Stamped(*it) for it in records))
    assert [(it.seal.first_offset, it.seal.last_offset) for it in made] == cuts


def test_seal_names_the_seal_before_it() -> None:
    """Numbers rise by one from 0, and each seal holds the hash of the one before."""
    first, second = (it.seal for it in sealed(Stamped(0, 0), Stamped(1, SEGMENT_MS)))
    assert (first.number, first.previous) == (0, FIRST)
    assert (second.number, second.previous) == (1, first.seal_hash)
    assert first.seal_hash == sha256(seal_text(first)).hexdigest()


def test_hash_and_fingerprints_are_over_the_leaves() -> None:
    """The hash is of all leaves in a row; fingerprints are by offset, zeros where a transaction left a gap."""
    ((seal, prints),) = sealed(Stamped(4, 7, b"a"), Stamped(6, 8, None))
    prefix = leaf_prefix("trades", 3)
    leaves = [leaf(prefix, 4, 7, b"a"), leaf(prefix, 6, 8, None)]
    assert seal.records_hash == sha256(b"".join(leaves)).hexdigest()
    assert prints.fingerprints == leaves[0][:4] + NOTHING + leaves[1][:4]
    assert seal.fingerprints_hash == sha256(prints.fingerprints).hexdigest()
    assert (prints.first_offset, seal.first_offset, seal.record_count) == (4, 0, 2)


def test_chain_goes_on_where_the_log_begins_if_that_is_later() -> None:
    """What was deleted before it was sealed is covered by no seal, so that it can be seen."""
    (first,) = sealed(Stamped(0, 0))
    chain = Chain("trades", 3, 10, first.seal, Signer())
    (second,) = sealed(Stamped(9, 1), Stamped(10, 1), last=chain)
    assert (second.seal.first_offset, second.seal.record_count) == (10, 1)
    assert second.seal.previous == first.seal.seal_hash


def test_quiet_segment_is_over_a_minute_after_its_own() -> None:
    """Only log time ends the segment of a partition to which nothing more comes."""
    chain = Chain("trades", 3, 0, None, Signer())
    assert not chain.is_quiet(10**12)
    assert list(chain.take([Stamped(0, 5)])) == []
    assert not chain.is_quiet(SEGMENT_MS + QUIET_MS - 1)
    assert chain.is_quiet(SEGMENT_MS + QUIET_MS)
    assert chain.close().seal.record_count == 1
    assert chain.unsealed_since_ms is None


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(-20_000, 50_000)), min_size=1, max_size=30),
    st.lists(st.integers(0, 30), max_size=5),
)
def test_cuts_do_not_depend_on_batches_or_restarts(steps: list[tuple[int, int]], breaks: list[int]) -> None:
    """However records are fetched, and whenever a sealer starts anew from the last seal, the seals are the same."""
    records, offset, now = [], 0, 100_000
    for gap, later in steps:
        offset, now = offset + gap, max(0, now + later)
        records.append(Stamped(offset, now))
    whole = list(Chain("t", 0, 0, None, Signer()).take(records))
    made: list[Sealed] = []
    for end in [*sorted(breaks), len(records)]:
        last = made[-1].seal if made else None
        chain = Chain("t", 0, 0, last, Signer())
        made += chain.take(records[:end])  # it passes over what is sealed
    assert made == whole


def test_openssl_agrees(tmp_path: Path) -> None:
    """Who trusts no program of ours checks a seal with sha256sum and openssl."""
    settings = Settings(data_folder=tmp_path)
    generate(tmp_path / "audit" / "seal.key")
    chain = Chain("trades", 0, 0, None, private(settings))
    list(chain.take([Stamped(0, 0)]))
    seal = chain.close().seal
    (tmp_path / "text").write_bytes(seal_text(seal))
    (tmp_path / "signature").write_bytes(bytes.fromhex(seal.signature))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "audit/seal.pub", "-rawin"]
    answer = subprocess.run(
        [*command, "-in", "text", "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    digest = subprocess.run(["sha256sum", "text"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert digest.split()[0].decode() == seal.seal_hash
