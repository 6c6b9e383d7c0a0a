"""What the record of an operator's deed says."""

import json

import pytest

from infra.acts import Actor, Deed, deed_of
from infra.settings import Settings
from schemas.commands import ActivateRules, Deposit, Halt, Kill, MassCancel, SetLimits
from schemas.reference import Limits

ACTOR = Actor("olga", "root", "desk-1", "trading")


@pytest.mark.parametrize(
    ("command", "action", "target"),
    [
        (Kill(command_id="1", account="alice"), "KILL", "account alice"),
        (Kill(command_id="1"), "KILL", "everyone"),
        (Halt(command_id="1", instrument="X"), "HALT", "instrument X"),
        (MassCancel(command_id="1", account="a", instrument="X"), "MASS_CANCEL", "account a, instrument X"),
        (SetLimits(command_id="1", account="a", limits=Limits()), "SET_LIMITS", "account a"),
        (Deposit(command_id="1", account="a", currency="USD", amount_minor=1), "DEPOSIT", "account a"),
        (ActivateRules(command_id="1", version=2), "ACTIVATE_RULES", "rules"),
    ],
)
def test_deed_of_a_command_names_verb_and_target(command: Kill, action: str, target: str) -> None:
    """A command's deed says what is done to whom, under the command's own id, with all of its fields."""
    deed = deed_of(command)
    assert (deed.action, deed.target, deed.command_id) == (action, target, "1")
    assert json.loads(ACTOR.act(deed, "ASKED").details or "")["command_id"] == "1"


def test_act_has_who_what_from_where_and_both_states() -> None:
    """The record names operator, user and host, and holds the states as JSON with sorted names."""
    deed = Deed(
        action="SET_LIMITS", target="account a", before={"b": 1, "a": None}, after=Limits(), note="why"
    )
    act = ACTOR.act(deed, "APPLIED")
    assert (act.operator, act.os_user, act.host, act.program) == ("olga", "root", "desk-1", "trading")
    assert act.before == '{"a":null,"b":1}'
    assert json.loads(act.after or "") == dict.fromkeys(Limits.__struct_fields__)
    assert (act.note, act.reason, act.details) == ("why", None, None)
    assert ACTOR.act(deed, "FAILED", "no").act_id == act.act_id


def test_operator_of_the_settings_goes_before_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRADING_OPERATOR says who acts; the user of the system is recorded beside it, and stands in for it."""
    monkeypatch.setenv("LOGNAME", "someone")
    told = Actor.of(Settings(operator="olga"))
    assert (told.operator, told.os_user) == ("olga", "someone")
    assert Actor.of(Settings()).operator == "someone"
