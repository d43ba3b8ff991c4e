"""Runs the module as Foundry does: through the official client, against the local Foundry."""

from foundry_cm.testing import Pipeline

INPUT, OUTPUT, ERRORS = {{ inputs | first | to_json }}, {{ outputs | first | to_json }}, {{ errors_alias | to_json }}


def test_the_samples_come_out(pipeline: Pipeline) -> None:
    run = pipeline.run()
    assert run.read[INPUT] > 0
    assert run.written[OUTPUT] == sum(run.read.values())
    assert run.written[ERRORS] == 0


def test_a_second_run_writes_nothing(pipeline: Pipeline) -> None:
    pipeline.run()
    assert not any(pipeline.run().written.values())


{% if not reads_media %}
def test_a_record_that_does_not_fit_is_put_aside(pipeline: Pipeline) -> None:
    good = pipeline.run().written[OUTPUT]
    pipeline.put(INPUT, "broken.jsonl", '{"no": "such column"}\n')
    run = pipeline.run()
    assert (run.written[OUTPUT], run.written[ERRORS]) == (0, 1)
    assert len(pipeline.rows(OUTPUT)) == good
    assert "broken" in pipeline.rows(ERRORS)[0]["origin"]


{% endif %}
{% if outputs.values() | first == 'stream' %}
def test_a_crash_loses_nothing_and_repeats_the_keys(pipeline: Pipeline) -> None:
    run = pipeline.run(faults=["kill@before-commit", "reset@after-commit"])
    keys = {row["record_key"] for row in pipeline.rows(OUTPUT)}
    assert len(keys) == sum(run.read.values())
{% else %}
def test_a_crash_loses_and_doubles_nothing(pipeline: Pipeline) -> None:
    run = pipeline.run(faults=["kill@before-commit", "reset@after-commit"])
    assert run.written[OUTPUT] == sum(run.read.values())
{% endif %}
