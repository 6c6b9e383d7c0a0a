"""What a person sees while the engine comes up."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def jar_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while jars are fetched: the function takes bytes, (done, all). Gone when they are there."""
    columns = (TextColumn("jars"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("jars", total=None, visible=False)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=done < total)

        yield show


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Leave the block quietly on Ctrl-C or SIGTERM; what ends the block may then not be interrupted again."""
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let an impatient second Ctrl-C not leave half of the engine running."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
