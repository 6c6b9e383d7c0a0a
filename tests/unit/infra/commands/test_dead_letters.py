"""Dead letters: which are meant, and how bytes are shown."""

import click
import pytest

from infra.commands.dead_letters import hex_lines, parse_numbers


def test_numbers_and_ranges() -> None:
    """Numbers and ranges keep their order, and each is meant once."""
    assert parse_numbers(("17", "20-22", "21", "3")) == (17, 20, 21, 22, 3)


@pytest.mark.parametrize("text", ["x", "-1", "1-", "1-x", "", "²"])
def test_other_words_are_no_numbers(text: str) -> None:
    """What is neither is named, with an example."""
    with pytest.raises(click.BadParameter, match="neither a number nor a range like 20-24"):
        parse_numbers((text,))


def test_bytes_are_shown_with_their_text() -> None:
    """Sixteen bytes a line: offset, hex, and what can be printed of them."""
    first, second = hex_lines(b"\x00 order 4711\n\x1b[2Jxyz")
    assert first == "000000  00 20 6f 72 64 65 72 20 34 37 31 31 0a 1b 5b 32  . order 4711..[2"
    assert second == f"000010  {'4a 78 79 7a':<47}  Jxyz"
