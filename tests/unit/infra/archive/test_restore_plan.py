from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.archive.bucket import ArchiveError
from infra.archive.log import ArchiveLog
from infra.archive.restore import plan, settings_of
from infra.archive.state import Day, read_state
from infra.cli import main
from infra.sealing import keys
from infra.settings import Settings
from schemas.topics import INBOXES
from tests.unit.infra.archive.archived import Archive
from tests.unit.infra.archive.test_state import DAY, Town
from tests.unit.infra.auditor.engine import Engine, open_market, trade_at_random


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """An engine whose day has a state, and is archived up to now, which is not its end."""
    engine = Engine()
    open_market(engine)
    trade_at_random(engine, 1, 50)
    engine.checkpoint()
    town = Town(engine, tmp_path)
    archive = Archive(tmp_path / "archive")
    archive.commit(
        (place, record)
        for place, of in town.log.records.items()
        if not place[0].endswith("-changelog")
        for record in of
    )
    town.take()
    return town


def test_a_refused_restore_leaves_its_folder_as_it_was(town: Town, tmp_path: Path) -> None:
    """So the retry that the refusal advises may name the same folder; no broker was started in it."""
    folder = tmp_path / "again"
    public_key = keys.key_file(town.settings).with_name(keys.PUBLIC)
    source = ["--archive", town.bucket.url, "--public-key", str(public_key)]
    for _ in range(2):
        result = CliRunner().invoke(main, ["archive", "restore", "--day", DAY, "--to", str(folder), *source])
        assert result.exit_code
        assert "or restore what there is by --as-far-as-archived" in " ".join(result.output.split())
        assert not folder.exists()


def test_a_plan_ends_where_the_slowest_inbox_does(town: Town) -> None:
    """A day that is not over is planned when that is known, and only then."""
    state = read_state(town.bucket, DAY, town.keys)
    settings = settings_of(state, Settings.load())
    day, log = Day.of(DAY), ArchiveLog(town.bucket)
    with pytest.raises(ArchiveError, match="only up to"):
        plan(log, state, settings, day)
    what = plan(log, state, settings, day, as_far_as_archived=True)
    ends = {
        place: max(record.timestamp_ms for record in of)
        for place, of in town.log.records.items()
        if place[0] in INBOXES.values()
    }
    assert what.until_ms == min(ends.values())
    assert all(what.begins[it.place] <= it.next_offset for it in state.manifest.states)
