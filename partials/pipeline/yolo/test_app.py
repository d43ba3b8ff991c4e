"""Runs the module as Foundry does: through the official client, against the local Foundry."""

import io

from foundry_cm.testing import Pipeline
from PIL import Image

INPUT, OUTPUT, ERRORS = {{ inputs | first | to_json }}, {{ outputs | first | to_json }}, {{ errors_alias | to_json }}


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "gray").save(file, "PNG")
    return file.getvalue()


def test_the_samples_are_read_and_boxes_lie_in_them(pipeline: Pipeline) -> None:
    run = pipeline.run()
    assert run.read[INPUT] > 0
    assert run.written[ERRORS] == 0
    for row in pipeline.rows(OUTPUT):
        (sample,) = (pipeline.root / "data").glob(f"*/{row['path']}")
        with Image.open(sample) as image:
            assert 0 <= row["left"] <= row["right"] <= image.width
            assert 0 <= row["top"] <= row["bottom"] <= image.height


def test_a_second_run_writes_nothing(pipeline: Pipeline) -> None:
    pipeline.put(INPUT, "nothing.png", png(160, 160))
    pipeline.run()
    assert not any(pipeline.run().written.values())


def test_a_bad_image_is_put_aside_alone(pipeline: Pipeline) -> None:
    good = pipeline.run().written[OUTPUT]
    pipeline.put(INPUT, "good.png", png(64, 32))
    pipeline.put(INPUT, "damaged.png", png(64, 32)[:60])
    pipeline.put(INPUT, "large.png", png(8000, 7000))
    pipeline.put(INPUT, "text.txt", "no image")
    run = pipeline.run()
    assert (run.read[INPUT], run.written[ERRORS]) == (4, 3)
    assert len(pipeline.rows(OUTPUT)) == good + run.written[OUTPUT]
    reasons = {row["origin"]: row["reason"] for row in pipeline.rows(ERRORS)}
    assert "the image is damaged" in reasons["damaged.png"]
    assert "more than 50 million" in reasons["large.png"]
    assert "the file is in no image format" in reasons["text.txt"]


{% if outputs.values() | first == 'stream' %}
def test_a_crash_loses_nothing_and_repeats_the_keys(pipeline: Pipeline) -> None:
    run = pipeline.run(faults=["kill@before-commit", "reset@after-commit"])
    assert run.read[INPUT] > 0
    keys = {row["record_key"] for row in pipeline.rows(OUTPUT)}
    assert len(keys) == len({str(row) for row in pipeline.rows(OUTPUT)})
{% else %}
def test_a_crash_loses_and_doubles_nothing(pipeline: Pipeline) -> None:
    pipeline.run(faults=["kill@before-commit", "reset@after-commit"])
    rows = [str(row) for row in pipeline.rows(OUTPUT)]
    assert len(rows) == len(set(rows))
    assert not any(pipeline.run().written.values())
{% endif %}
