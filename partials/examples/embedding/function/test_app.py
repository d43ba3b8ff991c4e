"""Calls the module as Foundry does: through the official SDK, under the local Foundry."""

import json
import math
from pathlib import Path

import pytest
from foundry_cm.testing import CallFailed, Foundry

EVENTS = sorted((Path(__file__).parents[1] / "events").glob("*.json"))


def embed(foundry: Foundry, *texts: str) -> list[list[float]]:
    result = foundry.call("embed", {"texts": list(texts)})
    vectors = [item["vector"] for item in result["embeddings"]]
    assert {len(vector) for vector in vectors} <= {result["dimension"]}
    return vectors


def cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize("event", EVENTS, ids=lambda path: path.stem)
def test_sample_event_is_answered(foundry: Foundry, event: Path) -> None:
    assert foundry.call(event.stem, json.loads(event.read_text(encoding="utf-8")))


def test_vectors_have_length_one_and_keep_the_order(foundry: Foundry) -> None:
    texts = ["ball valve", "a much longer text about pumps that move water", "x"]
    together = embed(foundry, *texts)
    for text, vector in zip(texts, together, strict=True):
        assert math.isclose(cosine(vector, vector), 1, abs_tol=1e-5)
        assert math.isclose(cosine(vector, embed(foundry, text)[0]), 1, abs_tol=1e-4)


def test_a_query_is_nearest_to_what_answers_it(foundry: Foundry) -> None:
    result = foundry.call("embed_query", {"texts": ["what moves water?"]})
    (query,) = (item["vector"] for item in result["embeddings"])
    pump, invoice = embed(foundry, "a machine that moves water", "an unpaid invoice")
    assert cosine(query, pump) > cosine(query, invoice)


def test_similar_texts_are_nearer_than_others(foundry: Foundry) -> None:
    pump, water, invoice = embed(foundry, "pump", "a machine that moves water", "an unpaid invoice")
    assert cosine(pump, water) > cosine(pump, invoice)


def test_no_text_gives_no_vector(foundry: Foundry) -> None:
    assert embed(foundry) == []


@pytest.mark.parametrize("text", ["", " ", "Überdruckventil", "ポンプ", "\x00", "a" * 10_000])
def test_text_of_any_kind_has_a_vector(foundry: Foundry, text: str) -> None:
    assert len(embed(foundry, text)) == 1


def test_equal_texts_have_equal_vectors(foundry: Foundry) -> None:
    first, second = embed(foundry, "ball valve", "ball valve")
    assert first == second


def test_long_text_is_said_to_be_truncated(foundry: Foundry) -> None:
    result = foundry.call("embed", {"texts": ["pump " * 5000, "pump"]})
    assert [item["truncated"] for item in result["embeddings"]] == [True, False]


def test_too_many_texts_are_refused(foundry: Foundry) -> None:
    with pytest.raises(CallFailed, match="1001 texts in one call; send at most 1000"):
        foundry.call("embed", {"texts": ["x"] * 1001})


def test_search_finds_by_meaning_the_best_first(foundry: Foundry) -> None:
    found = foundry.call("search", {"query": "measuring heat", "limit": 5})
    scores = [match["score"] for match in found]
    assert "thermometer" in found[0]["label"]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("limit", [0, 1, 2_000_000_000])
def test_limit_is_an_upper_bound(foundry: Foundry, limit: int) -> None:
    assert len(foundry.call("search", {"query": "pump", "limit": limit})) <= limit


def test_negative_limit_is_refused(foundry: Foundry) -> None:
    with pytest.raises(CallFailed, match=r"limit is -1; give 0 or more\."):
        foundry.call("search", {"query": "pump", "limit": -1})
