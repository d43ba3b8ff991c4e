"""Searches a parts catalogue: ranks the records of one partition by how well they match a query."""

import csv
from dataclasses import dataclass
from pathlib import Path

from compute_modules.context import QueryContext
from rapidfuzz import fuzz, process, utils

from cmkit import CallerError, function, load, start

# Matches below this score (of 100) are noise rather than answers.
WEAKEST_MATCH = 50


def read_catalogue() -> dict[str, dict[str, str]]:
    """The labels by record id, by partition."""
    catalogue: dict[str, dict[str, str]] = {}
    with (Path(__file__).parent / "data" / "parts.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            catalogue.setdefault(row["partition"], {})[row["record_id"]] = row["label"]
    return catalogue


# Loaded once, when the container starts; handlers only read it. Anything heavy belongs here.
CATALOGUE = load(read_catalogue)


@dataclass
class SearchPayload:
    """What goes in."""

    partition: str
    query: str
    limit: int


@dataclass
class SearchResult:
    """What comes back, one for each match, the best first."""

    record_id: str
    label: str
    score: float


@function
def search(context: QueryContext, event: SearchPayload) -> list[SearchResult]:
    """Rank the records of `event.partition` against `event.query`; scores go from 0 to 1."""
    labels = CATALOGUE.get(event.partition)
    if labels is None:
        known = ", ".join(sorted(CATALOGUE))
        raise CallerError(f'There is no partition "{event.partition}". Known: {known}.')
    if event.limit < 0:
        raise CallerError(f"limit is {event.limit}; give 0 or more.")
    matches = process.extract(
        event.query,
        labels,
        scorer=fuzz.WRatio,
        processor=utils.default_process,
        limit=event.limit,
        score_cutoff=WEAKEST_MATCH,
    )
    return [
        SearchResult(record_id=record_id, label=label, score=score / 100)
        for label, score, record_id in matches
    ]


if __name__ == "__main__":
    start()
