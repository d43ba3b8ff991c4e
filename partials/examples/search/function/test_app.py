"""Calls the module as Foundry does: through the official SDK, under the local Foundry."""

import json
from pathlib import Path

import pytest
from foundry_cm.testing import CallFailed, Foundry

EVENTS = sorted((Path(__file__).parents[1] / "events").glob("*.json"))


@pytest.mark.parametrize("event", EVENTS, ids=lambda path: path.stem)
def test_sample_event_is_answered(foundry: Foundry, event: Path) -> None:
    assert foundry.call(event.stem, json.loads(event.read_text(encoding="utf-8")))


def test_best_match_comes_first(foundry: Foundry) -> None:
    matches = foundry.call("search", {"partition": "valves", "query": "ball valve", "limit": 5})
    scores = [match["score"] for match in matches]
    assert "ball valve" in matches[0]["label"].lower()
    assert scores == sorted(scores, reverse=True)


def test_partitions_are_kept_apart(foundry: Foundry) -> None:
    for match in foundry.call("search", {"partition": "pumps", "query": "valve", "limit": 99}):
        assert match["record_id"].startswith("PU-")


@pytest.mark.parametrize("limit", [1, 3, 2_000_000_000])
def test_limit_is_an_upper_bound(foundry: Foundry, limit: int) -> None:
    matches = foundry.call("search", {"partition": "pumps", "query": "pump", "limit": limit})
    assert 0 < len(matches) <= limit


@pytest.mark.parametrize(("query", "limit"), [("", 5), ("pump", 0)])
def test_nothing_asked_gives_nothing(foundry: Foundry, query: str, limit: int) -> None:
    assert foundry.call("search", {"partition": "pumps", "query": query, "limit": limit}) == []


def test_unknown_partition_is_refused(foundry: Foundry) -> None:
    with pytest.raises(CallFailed, match='There is no partition "pump"'):
        foundry.call("search", {"partition": "pump", "query": "pump", "limit": 1})


def test_negative_limit_is_refused(foundry: Foundry) -> None:
    with pytest.raises(CallFailed, match="limit is -1"):
        foundry.call("search", {"partition": "pumps", "query": "pump", "limit": -1})
