"""Runs the module as Foundry does: through the official client, against the local Foundry."""

import json
import math
from typing import Any

import pytest
from foundry_cm.testing import Pipeline

INPUT, OUTPUT, ERRORS = {{ inputs | first | to_json }}, {{ outputs | first | to_json }}, {{ errors_alias | to_json }}


def embed(pipeline: Pipeline, *texts: str) -> list[dict[str, Any]]:
    """The rows for texts that are added to the samples, in their order."""
    ids = [f"text-{number}" for number in range(len(texts))]
    lines = [
        json.dumps({"record_id": record_id, "text": text})
        for record_id, text in zip(ids, texts, strict=True)
    ]
    pipeline.put(INPUT, "texts.jsonl", "\n".join(lines) + "\n")
    pipeline.run()
    rows = {row["record_id"]: row for row in pipeline.rows(OUTPUT)}
    assert all(len(rows[record_id]["vector"]) == rows[record_id]["dimension"] for record_id in ids)
    return [rows[record_id] for record_id in ids]


def cosine(left: dict[str, Any], right: dict[str, Any]) -> float:
    return float(sum(a * b for a, b in zip(left["vector"], right["vector"], strict=True)))


{% include pathjoin('partials', 'pipeline', 'test_samples.py') %}


def test_vectors_have_length_one_and_similar_texts_are_nearer(pipeline: Pipeline) -> None:
    rows = embed(pipeline, "pump", "a machine that moves water", "an unpaid invoice", "pump")
    assert [cosine(row, row) for row in rows] == pytest.approx([1, 1, 1, 1], abs=1e-5)
    pump, water, invoice, again = rows
    assert cosine(pump, water) > cosine(pump, invoice)
    assert math.isclose(cosine(pump, again), 1, abs_tol=1e-5)


def test_text_of_any_kind_has_a_vector(pipeline: Pipeline) -> None:
    rows = embed(pipeline, "", " ", "Überdruckventil", "ポンプ", "\x00", "pump " * 5000)
    assert [row["truncated"] for row in rows] == [False] * 5 + [True]


def test_a_record_that_does_not_fit_is_put_aside(pipeline: Pipeline) -> None:
    pipeline.put(INPUT, "broken.jsonl", '{"no": "such column"}\n')
    run = pipeline.run()
    assert run.written[ERRORS] == 1
    assert run.written[OUTPUT] == sum(run.read.values()) - 1
    assert "broken" in pipeline.rows(ERRORS)[0]["origin"]


{% include pathjoin('partials', 'pipeline', 'test_crash.py') %}
