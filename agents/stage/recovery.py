"""How a partition comes back: from memory, the local store, the changelog, a peer; or not at all."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from agents.stage.errors import StartRefused
from agents.stage.fold import Fold
from tables.checkpointed.ports import Bounds, Changelog, LocalStore, StoreBroken, StoreState
from tables.section import Change

log = logging.getLogger(__name__)

TOMBSTONES_KEPT_NS: Final = 7 * 24 * 3600 * 10**9  # delete.retention.ms of every changelog
RECORDS_A_LOOK: Final = 1000  # between two looks at whether the partition is still wanted
STORE_AGE_MAX_NS: Final = TOMBSTONES_KEPT_NS // 2  # older, and a removed key may rise from the local store


class Abandoned(Exception):
    """A rebalance came while a partition was being recovered."""


class Recovered(NamedTuple):
    """A fold that is complete to the changelog's end.

    ``unstored`` is what was read of the changelog, which the local store does not have yet; ``is_first``:
    the changelog holds no checkpoint.
    """

    fold: Fold
    changelog_end: int
    unstored: dict[bytes, bytes | None]
    from_memory: bool = False
    is_first: bool = False


class Inbox(NamedTuple):
    """What recovery must know of the world: the inbox's bounds, and whether this origin has spoken.

    ``restoration`` names the restore that the inbox came from, if it came from one.
    """

    bounds: Callable[[], Bounds]
    has_spoken: Callable[[], bool]
    restoration: str = ""


class Keeper(msgspec.Struct):
    """What is remembered of a partition between two assignments."""

    fold: Fold
    changelog_end: int


def recover(
    make: Callable[[], Fold],
    kept: Keeper | None,
    changelog: Changelog,
    store: LocalStore,
    inbox: Inbox,
    now_ns: int,
    *,
    wanted: Callable[[], bool] = lambda: True,
    peer: Changelog | None = None,
) -> Recovered:
    """Brings one partition to the end of its changelog (design, rule 7).

    Raises StartRefused where no place to go on from can be trusted, Abandoned when ``wanted`` turns False.
    """
    changelog.fence()  # (a) the predecessor is shut out, its open transaction resolved
    bounds = changelog.bounds()
    if kept is not None and kept.changelog_end == bounds.end:  # (b) nobody wrote meanwhile
        return Recovered(kept.fold, bounds.end, {}, from_memory=True)
    fold = make()
    begin = _load_store(fold, store, bounds, now_ns)
    if begin is None or fold.restoration != inbox.restoration:  # (c), or the copy is of another log
        store.wipe()
        fold, begin = make(), bounds.start
    unstored = dict(_read(fold, changelog, begin, wanted))  # (d)
    is_first = not fold.has_meta
    if is_first and peer is not None:
        deque(_read(fold, peer, peer.bounds().start, wanted), maxlen=0)
        fold.tables.mark_all()
    fold.begin()
    _check_restoration(fold, inbox)
    _check_place(fold, inbox)  # (e)
    return Recovered(fold, bounds.end, unstored, is_first=is_first)


def _load_store(fold: Fold, store: LocalStore, bounds: Bounds, now_ns: int) -> int | None:
    """Loads the local store and returns the changelog offset to read from; None if it is of no use."""
    state = store.state()
    if state is None or not _is_usable(state, bounds, now_ns):
        return None
    try:
        fold.load_all(store.entries())
    except StoreBroken as error:
        log.warning("the local store is broken and will be rebuilt from the changelog: %s", error)
        return None
    return state.next_offset


def _is_usable(state: StoreState, bounds: Bounds, now_ns: int) -> bool:
    young = now_ns - state.written_at_ns < STORE_AGE_MAX_NS
    return young and bounds.start <= state.next_offset <= bounds.end


def _read(fold: Fold, changelog: Changelog, begin: int, wanted: Callable[[], bool]) -> Iterator[Change]:
    for count, (_, key, value) in enumerate(changelog.read(begin)):
        fold.load(key, value)
        yield key, value
        if not count % RECORDS_A_LOOK and not wanted():
            raise Abandoned


def _check_restoration(fold: Fold, inbox: Inbox) -> None:
    """A state may only go on over the log that it was restored with: another's offsets mean other records."""
    if not fold.has_meta:
        fold.restoration = inbox.restoration
    if fold.restoration != inbox.restoration:
        of = f"restore {fold.restoration}" if fold.restoration else "an engine that was never restored"
        there = f"is of restore {inbox.restoration}" if inbox.restoration else "has no topic `restored`"
        raise StartRefused(
            f"{fold.stage.name} {fold.partition} has the state of {of}, and this cluster {there}: they do not"
            " belong together. Put the cluster back as it was restored, or restore anew"
        )


def _check_place(fold: Fold, inbox: Inbox) -> None:
    bounds = inbox.bounds()
    name = f"{fold.stage.name} {fold.partition}"
    if not fold.has_meta:
        if bounds.start > 0:
            raise StartRefused(
                f"{name} has no checkpoint and its inbox starts at {bounds.start}, not 0: restore the changelog,"
                " or seed this replica from a peer"
            )
        if inbox.has_spoken():
            raise StartRefused(
                f"{name} has no checkpoint, yet it has spoken before: its changelog is gone. Restore it, or seed"
                " this replica from a peer"
            )
    elif not bounds.start <= fold.next_offset <= bounds.end:
        raise StartRefused(
            f"{name} goes on at {fold.next_offset}, but its inbox holds {bounds.start} to {bounds.end}: records"
            " are lost; restore the inbox, or start from a newer checkpoint"
        )
