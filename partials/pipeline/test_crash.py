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
