"""What a verification finds, and what it looked at."""

from typing import Any, Final, Literal

import msgspec

from infra.auditor.log import Place

Kind = Literal[
    "changed",  # the record at this offset is not the one that was sealed
    "missing",  # a sealed record is not there
    "added",  # a record stands where none was sealed
    "moved",  # a sealed record stands at another offset
    "broken_segment",  # a segment does not hold what was sealed, and which record it is cannot be told
    "removed_early",  # the log's start is further on than retention explains
    "forged_seal",  # not signed by a trusted key, or its fields are not those that were signed
    "missing_seal",  # a number of the chain is not there
    "forked_chain",  # two seals of one number
    "broken_chain",  # a seal does not follow from the one before it
    "never_sealed",  # records were deleted before they were sealed
    "unarchived",  # sealed records that the archive should have by now
    "conflicting",  # the archive has two different records of one place
    "unreadable",  # a file of the archive is gone or damaged
    "gap",  # the archive has no record at offsets that nothing explains
    "unlike_kafka",  # the archive does not have what Kafka still has there
    "unsealed",  # records are older than a seal may take, and have none
]
SHOWN_MAX: Final = 1_000  # of a place's findings; the count tells the rest


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was sealed: the record by its offset, or the seal by its number, and a sentence."""

    kind: Kind
    topic: str
    partition: int
    offset: int | None = None
    seal: int | None = None
    detail: str

    def line(self) -> str:
        """For people."""
        at = "" if self.offset is None else f" offset {self.offset}"
        of = "" if self.seal is None else f" seal {self.seal}"
        return f"{self.kind}: {self.topic} {self.partition}{at}{of}: {self.detail}"


class PlaceReport(msgspec.Struct):
    """What was looked at in a topic-partition; ``expired_seals`` are those whose records retention has deleted.

    ``ahead_seals`` are those whose records an archive does not have yet.
    """

    topic: str
    partition: int
    seals: int = 0
    expired_seals: int = 0
    ahead_seals: int = 0
    records_checked: int = 0
    bytes_checked: int = 0
    sealed_to: int = -1
    sealed_to_ms: int = 0
    unsealed_records: int = 0
    findings: int = 0


class Verification:
    """All findings, and a report for each place."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.places: dict[Place, PlaceReport] = {}
        self.notes: list[str] = []

    def place(self, place: Place) -> PlaceReport:
        """The report of a place; made when it is first asked for."""
        return self.places.setdefault(place, PlaceReport(*place))

    def find(
        self, kind: Kind, place: Place, detail: str, *, offset: int | None = None, seal: int | None = None
    ) -> None:
        """Adds a finding."""
        report = self.place(place)
        report.findings += 1
        if report.findings <= SHOWN_MAX:
            self.findings.append(
                Finding(
                    kind=kind, topic=place[0], partition=place[1], offset=offset, seal=seal, detail=detail
                )
            )

    @property
    def count(self) -> int:
        """How many findings there are in all."""
        return sum(report.findings for report in self.places.values())

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "ok": not self.count,
            "findings": [msgspec.to_builtins(it) for it in self.findings],
            "finding_count": self.count,
            "places": [msgspec.to_builtins(it) for _, it in sorted(self.places.items())],
            "notes": self.notes,
        }
