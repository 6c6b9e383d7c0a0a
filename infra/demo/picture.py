"""One picture of the demo: the price of every trade, the book at the end, and the latency of the run."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import sqrt
from pathlib import Path
from typing import Final

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infra.demo.accounts import LOTS_PER_BTC, TICKS_PER_USD
from infra.demo.latency import Percentiles
from infra.demo.plain_book import Level
from schemas.record import Side

_INK, _GRID, _PAPER = "#22303c", "#e3e7ea", "#ffffff"
_ENGINE, _RECORDED, _WRONG, _LOST = "#1f77b4", "#9aa5ae", "#d62728", "#e08a00"
_SIDE_COLOURS: Final[dict[Side, str]] = {"BUY": "#2a9d6f", "SELL": "#c8553d"}
_DEPTH_USD: Final = (
    150  # each side of the middle: wide enough for the shape, near enough to tell levels apart
)


class TradePoint(msgspec.Struct, frozen=True):
    """A trade in the recording's time."""

    minutes: float
    price_ticks: int
    quantity_lots: int


class Kill(msgspec.Struct, frozen=True):
    """A worker that was killed, ``at_s`` seconds after the first command was sent."""

    stage: str
    at_s: float


class PictureData(msgspec.Struct, frozen=True, kw_only=True):
    """All that is drawn."""

    exact: Sequence[TradePoint]
    missing: Sequence[TradePoint]
    made_up: Sequence[TradePoint]
    recorded_book: Mapping[Side, Sequence[Level]]
    engine_book: Mapping[Side, Sequence[Level]]
    latency: Sequence[Percentiles]
    kills: Sequence[Kill]


def draw(data: PictureData, path: Path) -> None:
    """Write the picture; the name's ending (.png or .svg) says in which form."""
    figure = Figure(figsize=(12, 9), dpi=130, facecolor=_PAPER, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.15, 1))
    _price(figure.add_subplot(grid[0, :]), data)
    _depth(figure.add_subplot(grid[1, 0]), data)
    _latency(figure.add_subplot(grid[1, 1]), data)
    figure.suptitle(
        "A recorded market session through the engine", x=0.01, ha="left", color=_INK, size=15, weight="bold"
    )
    figure.savefig(path)


def _price(axes: Axes, data: PictureData) -> None:
    _style(axes, "Trades: the engine's on the recorded ones", "minutes of the recording", "price, USD")
    every = sorted((*data.exact, *data.missing), key=lambda point: point.minutes)
    axes.plot(*_xy(every), color=_RECORDED, linewidth=0.8, zorder=1)
    axes.scatter(
        *_xy(data.exact),
        s=[_area(point) for point in data.exact],
        color=_ENGINE,
        alpha=0.55,
        linewidths=0,
        zorder=2,
        label=f"{len(data.exact)} exact: both ids, price and amount",
    )
    axes.scatter(
        *_xy(data.missing),
        s=90,
        marker="o",
        facecolors="none",
        edgecolors=_LOST,
        linewidths=1.8,
        zorder=3,
        label=f"{len(data.missing)} recorded, not made",
    )
    axes.scatter(
        *_xy(data.made_up),
        s=60,
        marker="x",
        color=_WRONG,
        linewidths=1.8,
        zorder=4,
        label=f"{len(data.made_up)} made, not recorded",
    )
    legend = axes.legend(frameon=False, labelcolor=_INK, fontsize=9)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_sizes([40.0])  # type: ignore[attr-defined]  # a scatter's, else as large as its first dot


def _depth(axes: Axes, data: PictureData) -> None:
    _style(axes, "Book at the end, cumulated", "price, USD", "BTC")
    best = [book[0].price_ticks for book in data.recorded_book.values() if book]
    middle = sum(best) / len(best) / TICKS_PER_USD if best else 0.0
    for side, colour in _SIDE_COLOURS.items():
        prices, totals = _cumulated(data.engine_book[side], middle)
        axes.fill_between(prices, totals, step="post", color=colour, alpha=0.25, linewidth=0)
        axes.step(prices, totals, where="post", color=colour, linewidth=1.6, label=f"engine, {side.lower()}s")
        axes.step(
            *_cumulated(data.recorded_book[side], middle),
            where="post",
            color=_INK,
            linewidth=1.0,
            linestyle=(0, (2, 2)),
            label="recorded" if side == "SELL" else None,
        )
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=_INK, fontsize=9, loc="upper center")


def _latency(axes: Axes, data: PictureData) -> None:
    _style(axes, "Latency, from sent to answered", "seconds of the run", "ms")
    times = [point.at_s for point in data.latency]
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.plot(times, [point.p99_ms for point in data.latency], color=_LOST, linewidth=1.4, label="p99")
    axes.plot(times, [point.p50_ms for point in data.latency], color=_ENGINE, linewidth=1.6, label="p50")
    for kill in data.kills:
        axes.axvline(kill.at_s, color=_WRONG, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{kill.stage} killed",
            (kill.at_s, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-3, -4),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="top",
            color=_WRONG,
            size=8,
        )
    axes.legend(frameon=False, labelcolor=_INK, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def _style(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", color=_INK, size=11, weight="bold")
    axes.set_xlabel(x_label, color=_INK, size=9)
    axes.set_ylabel(y_label, color=_INK, size=9)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=9, length=0)
    axes.ticklabel_format(style="plain", useOffset=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _xy(points: Sequence[TradePoint]) -> tuple[list[float], list[float]]:
    return [point.minutes for point in points], [point.price_ticks / TICKS_PER_USD for point in points]


def _area(point: TradePoint) -> float:
    """Give a dot's area: grows with the amount, and the smallest can still be seen."""
    return 14 + 260 * sqrt(point.quantity_lots / LOTS_PER_BTC)


def _cumulated(levels: Sequence[Level], middle: float) -> tuple[list[float], list[float]]:
    """Give prices near the middle, and the BTC that rest up to each."""
    near = [level for level in levels if abs(level.price_ticks / TICKS_PER_USD - middle) <= _DEPTH_USD]
    totals = accumulate(level.quantity_lots / LOTS_PER_BTC for level in near)
    return [level.price_ticks / TICKS_PER_USD for level in near], list(totals)
