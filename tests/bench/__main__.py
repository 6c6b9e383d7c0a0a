"""``make bench``: the engine, its parts and its peers, measured in one run, each figure beside its goal.

python -m tests.bench [--quick] [--only NAME]... [--json]
"""

from collections.abc import Iterator

import click

from infra.bench.command import scratch
from infra.errors import OperatorError
from tests.bench.figures import Figure, Goal, as_json, show
from tests.bench.parts import PARTS, QUICK, Run, Scale


@click.command()
@click.option("--quick", is_flag=True, help="Tiny counts: shows that everything runs, not how fast it is.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(PARTS)), help="Measure this part; may be given again."
)
@click.option("--seconds", default=60.0, show_default=True, help="Length of each measurement of the engine.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of the table.")
def main(*, quick: bool, only: tuple[str, ...], seconds: float, is_json: bool) -> None:
    """Measure; the ratios need the parts that they compare: engine and bare, engine and stock."""
    figures: list[Figure] = []
    with scratch() as (settings, broker):
        run = Run(QUICK if quick else Scale(seconds=seconds), settings, broker)
        for name, part in PARTS.items():
            if not only or name in only:
                click.echo(f"measuring: {name}", err=True)
                figures += _measured(name, part(run))
    if is_json:
        click.echo(as_json(figures))
    else:
        show(figures)


def _measured(name: str, figures: Iterator[Figure]) -> Iterator[Figure]:
    """The figures of a part as far as it came: one that fails must not take an hour's figures with it."""
    try:
        yield from figures
    except OperatorError as error:
        yield Figure(part=name, what="FAILED", value=0, unit="", goal=Goal("at least", 1), note=str(error))


if __name__ == "__main__":
    main()
