"""The digest of a command's content: it outlives upgrades, for it is remembered with the command's id."""

import msgspec
import pytest

from agents.rules.risk.outcomes import content_of, digest_of
from schemas.commands import (
    AccountCommand,
    CancelOrder,
    Deposit,
    MassCancel,
    PlaceOrder,
    ReplaceOrder,
    Withdraw,
)

ORDER = PlaceOrder(
    account="a",
    client_order_id="1",
    instrument="XYZ",
    side="BUY",
    order_type="LIMIT",
    time_in_force="GTC",
    quantity_lots=2,
    price_ticks=100,
)
FIRST = ("account", "original_client_order_id")


class NewCancel(CancelOrder, frozen=True, gc=False, kw_only=True):
    """A cancel of a later version, with two more fields."""

    urgency: int = 0
    cause: str | None = None


def new_cancel(**fields: object) -> NewCancel:
    """One of them."""
    old = CancelOrder(account="a", client_order_id="1", original_client_order_id="0")
    return NewCancel(**(msgspec.structs.asdict(old) | fields))


@pytest.mark.parametrize(
    ("command", "digest"),
    [
        (ORDER, 0xBC6DB930),
        (CancelOrder(account="a", client_order_id="1", original_client_order_id="0"), 0xE656DAFE),
        (
            ReplaceOrder(account="a", client_order_id="1", original_client_order_id="0", price_ticks=5),
            0x9832312A,
        ),
        (MassCancel(account="a", command_id="1"), 0x20673AC4),
        (Deposit(account="a", command_id="1", currency="USD", amount_minor=5), 0xEDB2891B),
        (Withdraw(account="a", command_id="1", currency="USD", amount_minor=5), 0x78FFF7AF),
    ],
    ids=lambda it: type(it).__name__,
)
def test_a_digest_never_changes(command: AccountCommand, digest: int) -> None:
    """What a changelog has remembered since the first release is what is worked out today."""
    assert digest_of(command) == digest


def test_a_field_of_a_later_version_counts_only_where_it_is_told() -> None:
    """An old command read by new code is the same command; with the new field told it is another."""
    content = content_of(NewCancel, FIRST)
    assert content(new_cancel()) == content_of(CancelOrder, FIRST)(new_cancel()) == ("a", "0")
    assert content(new_cancel(cause="x")) == ("a", "0", ("cause", "x"))
    assert content(new_cancel(urgency=1, cause="x")) == ("a", "0", ("cause", "x"), ("urgency", 1))


def test_every_field_counts_but_the_id_and_the_stamps() -> None:
    """Another value in any field of the content is another digest; another id, time or way is the same."""
    others = {
        "account": "b",
        "instrument": "ABC",
        "side": "SELL",
        "order_type": "MARKET",
        "time_in_force": "DAY",
        "post_only": True,
        "self_trade_prevention": "NONE",
    }
    stamps = {"client_order_id": "2", "at_ns": 9, "client": "acme"}
    for name in PlaceOrder.__struct_fields__:
        changed = msgspec.structs.replace(ORDER, **{name: others.get(name, stamps.get(name, 7))})
        assert (digest_of(changed) == digest_of(ORDER)) == (name in stamps), name
