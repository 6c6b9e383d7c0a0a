"""Files of instruments and accounts are read exactly, and their faults named."""

from pathlib import Path

import pytest

from infra.errors import OperatorError
from infra.reference_files import read_accounts, read_instruments
from schemas.reference import Account, FeeRate, Instrument, Limits

INSTRUMENTS = """
currencies: {USD: 2, EUR: 4}
instruments:
  - symbol: X
    kind: EQUITY
    currency: USD
    tick_size: 0.01
    lot_size: 1
    maximum_quantity: 5000
    maximum_notional: 1000000.50
  - symbol: FUT
    kind: FUTURE
    currency: EUR
    tick_size: "0.25"
    lot_size: 0.001
    multiplier: 50
    maximum_quantity: 1.5
    maximum_notional: 1e9
    collar_bps: 500
    initial_margin_bps: 1000
    settlement_days: 1
    session_end: "17:30"
    fee_class: futures
    trading_state: HALTED
"""
ACCOUNTS = """
accounts:
  - account: "007"
  - account: b
    account_type: MARGIN
    status: SUSPENDED
    self_trade_group: desk
    self_trade_prevention: DECREMENT
    fees: {default: {maker_bps: -1, taker_bps: 5}}
    limits: {maximum_open_orders: 10, maximum_position_lots: null}
    permitted_instruments: [X, FUT]
    restricted_instruments: [Y]
    clients: [acme]
"""


def write(folder: Path, text: str) -> Path:
    """A file of that text."""
    path = folder / "reference.yaml"
    path.write_text(text)
    return path


def test_instruments_are_read_in_integers(tmp_path: Path) -> None:
    """Sizes, bounds and times of day become steps, lots, minor units and minutes; the rest has defaults."""
    assert read_instruments(write(tmp_path, INSTRUMENTS)) == (
        Instrument(
            symbol="X",
            kind="EQUITY",
            currency="USD",
            currency_exponent=2,
            tick_size_e9=10_000_000,
            lot_size_e9=1_000_000_000,
            multiplier=1,
            minor_per_tick_lot=1,
            maximum_quantity_lots=5000,
            maximum_notional_minor=100_000_050,
        ),
        Instrument(
            symbol="FUT",
            kind="FUTURE",
            currency="EUR",
            currency_exponent=4,
            tick_size_e9=250_000_000,
            lot_size_e9=1_000_000,
            multiplier=50,
            minor_per_tick_lot=125,
            maximum_quantity_lots=1500,
            maximum_notional_minor=10**13,
            collar_bps=500,
            initial_margin_bps=1000,
            settlement_days=1,
            session_end_minute_utc=17 * 60 + 30,
            fee_class="futures",
            trading_state="HALTED",
        ),
    )


def test_accounts_are_read(tmp_path: Path) -> None:
    """A name of digits stays text, null is no bound, and what is left out has its default."""
    assert read_accounts(write(tmp_path, ACCOUNTS)) == (
        Account(account="007"),
        Account(
            account="b",
            account_type="MARGIN",
            status="SUSPENDED",
            self_trade_group="desk",
            self_trade_prevention="DECREMENT",
            fee_rates=(FeeRate(fee_class="default", maker_bps=-1, taker_bps=5),),
            limits=Limits(maximum_open_orders=10),
            permitted_instruments=("X", "FUT"),
            restricted_instruments=("Y",),
            clients=("acme",),
        ),
    )


def test_one_file_may_hold_all(tmp_path: Path) -> None:
    """Each reader takes its own part."""
    path = write(tmp_path, INSTRUMENTS + ACCOUNTS)
    assert len(read_instruments(path)) == 2
    assert len(read_accounts(path)) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("symbol: X", "symbol: FUT", "instrument 2 (FUT): FUT is in the file twice"),
        ("symbol: X", "symbol: a b", "instrument 1 (a b): symbol 'a b' is not 1 to 64"),
        ("symbol: X", "name: X", "instrument 1: Object "),
        ("kind: EQUITY", "kind: SHARE", "instrument 1 (X): Invalid enum value 'SHARE' - at `$.kind`"),
        ("    kind: EQUITY\n", "", "instrument 1 (X): Object missing required field `kind`"),
        ("kind: EQUITY", "kind: EQUITY\n    colar_bps: 1", "(X): Object contains unknown field `colar_bps`"),
        ("currency: USD", "currency: GBP", "(X): currency GBP is not under currencies"),
        ("USD: 2", "USD: 19", "currencies: USD has 19 decimals"),
        ("USD: 2", "USD: two", "currencies: Expected `int`"),
        ("tick_size: 0.01", "tick_size: 0.001", "(X): tick x lot x multiplier is no whole number"),
        ("tick_size: 0.01", "tick_size: 0", "(X): tick_size 0 is not above zero"),
        (
            "tick_size: 0.01",
            "tick_size: 1e-10",
            "(X): tick_size 1e-10 is not a multiple of the smallest step",
        ),
        ("tick_size: 0.01", "tick_size: cheap", "(X): tick_size 'cheap' is not a decimal number"),
        ("maximum_quantity: 5000", "maximum_quantity: 0.5", "(X): maximum_quantity 0.5 is not a multiple"),
        ("maximum_quantity: 5000", "maximum_quantity: 0", "(X): maximum_quantity_lots 0 is not from 1"),
        ("1000000.50", "1e30", "(X): maximum_notional_minor 1"),
        ("17:30", "25:00", "(FUT): session_end_minute_utc 1500 is not from 0 to 1439"),
        ("17:30", "5 pm", "(FUT): session_end '5 pm' is not a time of day"),
        ("multiplier: 50", "multiplier: half", "(FUT): Expected `int`, got `str` - at `$.multiplier`"),
        ("instruments:", "instrument:", "there is no list `instruments:`"),
        ("instruments:", "more: 1\ninstruments:", "'more' is not one of currencies, instruments, accounts"),
        ("instruments:", "instruments: [", "is not YAML: "),
    ],
)
def test_a_fault_of_an_instrument_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    """The error names file, entry and field, and says what is wrong."""
    assert old in INSTRUMENTS
    path = write(tmp_path, INSTRUMENTS.replace(old, new))
    with pytest.raises(OperatorError) as raised:
        read_instruments(path)
    assert str(raised.value).startswith(str(path))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("account: b", "account: house:1", "account 2 (house:1): account 'house:1': names that start so"),
        ("account: b", 'account: "007"', "account 2 (007): 007 is in the file twice"),
        ("SUSPENDED", "ASLEEP", "account 2 (b): Invalid enum value 'ASLEEP' - at `$.status`"),
        ("maker_bps: -1", "maker_bps: -10001", "maker_bps of default -10001 is not from -10000"),
        ("maker_bps: -1, ", "", "missing required field `maker_bps`"),
        ("maximum_open_orders: 10", "max_open_orders: 10", "unknown field `max_open_orders`"),
        ("[X, FUT]", "[X, X]", "permitted_instruments names something twice"),
        ("clients: [acme]", "clients: acme", "at `$.clients`"),
    ],
)
def test_a_fault_of_an_account_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    """The error names file, entry and field, and says what is wrong."""
    assert old in ACCOUNTS
    path = write(tmp_path, ACCOUNTS.replace(old, new))
    with pytest.raises(OperatorError) as raised:
        read_accounts(path)
    assert str(raised.value).startswith(str(path))
    assert words in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The operating system's reason goes with the name."""
    with pytest.raises(OperatorError, match=r"missing\.yaml"):
        read_accounts(tmp_path / "missing.yaml")
