"""The index of the views, for people: what can be asked, with an example of each."""

from collections.abc import Iterable
from html import escape

from connectors.views.view import View

_WORKER = (
    ("/stages", "this worker's stages: offset, lag, checkpoint age and repeats dropped of each partition"),
    ("/metrics", "the same and more, for Prometheus"),
    ("/health/live", "200 while the process serves; needs no token"),
    (
        "/health/ready",
        "200 when every partition that was assigned is recovered, else 503 and what is missing",
    ),
)
_INTRODUCTION = (
    "The tables of a trading engine, as they are now. Ask any worker: whoever owns the key answers. Prices,"
    " quantities and money are decimal strings; times are UTC; as_of names the place in the stage's inbox up"
    " to which the answer is true."
)


def page(views: Iterable[View]) -> str:
    """The index as HTML."""
    rows = [(view.path, view.about, _parameters(view), view.example) for view in views]
    rows += [(path, about, "", path) for path, about in _WORKER]
    body = "".join(
        f"<tr><td><code>{escape(path)}</code></td><td>{escape(about)}{escape(more)}</td>"
        f'<td><a href="{escape(example)}">{escape(example)}</a></td></tr>'
        for path, about, more, example in rows
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Views</title>"
        "<style>body{font:15px sans-serif;max-width:70em;margin:2em auto}td{padding:.3em 1em .3em 0;"
        "vertical-align:top}</style>"
        f"<h1>Views</h1><p>{_INTRODUCTION}</p><table>{body}</table>\n"
    )


def _parameters(view: View) -> str:
    return "".join(
        f"; {it.name} from {it.least} to {it.most}, {it.default} unless told" for it in view.numbers
    )
