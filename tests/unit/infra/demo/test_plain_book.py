from infra.demo.plain_book import Fill, Level, PlainBook


def test_price_goes_before_time_and_time_before_nothing() -> None:
    """A sweep takes the best price first, within it the oldest, and rests what is left."""
    book = PlainBook()
    book.enter("late", "SELL", 101, 5)
    book.enter("first", "SELL", 100, 2)
    book.enter("second", "SELL", 100, 2)
    assert book.enter("buyer", "BUY", 100, 5) == [
        Fill("buyer", "first", 100, 2),
        Fill("buyer", "second", 100, 2),
    ]
    assert book.levels("BUY", 10) == (Level(100, 1),)
    assert book.levels("SELL", 10) == (Level(101, 5),)


def test_a_market_order_rests_nothing() -> None:
    """What a market order finds no one for is gone."""
    book = PlainBook()
    book.enter("bid", "BUY", 99, 1)
    assert book.enter("seller", "SELL", None, 3) == [Fill("bid", "seller", 99, 1)]
    assert book.levels("SELL", 10) == ()
    assert book.leaves("seller") == 0


def test_a_reduced_order_keeps_its_place() -> None:
    """Taking quantity off an order leaves it first in its queue."""
    book = PlainBook()
    book.enter("first", "BUY", 99, 3)
    book.enter("second", "BUY", 99, 3)
    book.reduce("first", 2)
    assert book.first_crossed("SELL", 99) == "first"
    assert book.levels("BUY", 1) == (Level(99, 4),)
    book.reduce("first", 1)
    assert book.first_crossed("SELL", 99) == "second"
    assert book.first_crossed("SELL", 100) is None
