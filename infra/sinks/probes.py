"""Probes: connectors under a name of their own that look for the record at which another failed (`locate`)."""

from typing import Final

from infra.sinks.connect import Connect

PROBE: Final = "probe-of-"


def remove(connect: Connect, probe: str) -> None:
    """Take a probe away, with what it has committed."""
    connect.stop(probe)
    connect.forget(probe)
    connect.delete(probe)


def sweep(connect: Connect) -> None:
    """Take away the probes that an interrupted search has left behind; one that is under way must start again."""
    for name in connect.states():
        if name.startswith(PROBE):
            remove(connect, name)
