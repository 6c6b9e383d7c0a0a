"""A section's memory of what a checkpoint must write."""

from itertools import product

from tables.section import Section

KEY, OLD, NEW = 7, 1, 2


def section(*, committed: bool) -> Section[int, int]:
    """A section whose key was there at the last checkpoint, or was not."""
    made: Section[int, int] = Section("numbers", 1, int, int)
    if committed:
        made[KEY] = OLD
        made.take_dirty()
    return made


def test_what_was_written_and_is_no_more_is_removed() -> None:
    """However often a key comes and goes: a checkpoint says what makes the last one's rows today's."""
    for committed in (False, True):
        for steps in product(("set", "remove"), repeat=4):
            made = section(committed=committed)
            before = dict(made)
            for step in steps:
                if step == "set":
                    made[KEY] = NEW
                else:
                    made.pop(KEY, None)
            changes = made.take_dirty()
            after = {key: row for key, row in {**before, **changes}.items() if row is not None}
            assert after == dict(made), steps
            assert before or after or not changes, f"{steps} leaves a trace of what was never written"


def test_what_is_taken_counts_as_written() -> None:
    """The next checkpoint has only what changed after it, and what is taken no longer changes."""
    made = section(committed=False)
    made[KEY] = OLD
    taken = made.take_dirty()
    made[KEY] = NEW
    assert (taken, made.take_dirty(), made.dirty_count) == ({KEY: OLD}, {KEY: NEW}, 0)


def test_all_of_it_can_be_marked() -> None:
    """A changelog that holds nothing is given every row."""
    made = section(committed=True)
    made.mark_all()
    assert made.take_dirty() == {KEY: OLD}
