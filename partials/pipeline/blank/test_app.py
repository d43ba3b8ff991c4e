"""Runs the module as Foundry does: through the official client, against the local Foundry."""

from foundry_cm.testing import Pipeline

INPUT, OUTPUT, ERRORS = {{ inputs | first | to_json }}, {{ outputs | first | to_json }}, {{ errors_alias | to_json }}


{% include pathjoin('partials', 'pipeline', 'test_samples.py') %}


{% if not reads_media %}
def test_a_record_that_does_not_fit_is_put_aside(pipeline: Pipeline) -> None:
    good = pipeline.run().written[OUTPUT]
    pipeline.put(INPUT, "broken.jsonl", '{"no": "such column"}\n')
    run = pipeline.run()
    assert (run.written[OUTPUT], run.written[ERRORS]) == (0, 1)
    assert len(pipeline.rows(OUTPUT)) == good
    assert "broken" in pipeline.rows(ERRORS)[0]["origin"]


{% endif %}
{% include pathjoin('partials', 'pipeline', 'test_crash.py') %}
