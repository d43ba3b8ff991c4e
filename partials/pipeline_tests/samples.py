def test_the_samples_come_out(pipeline: Pipeline) -> None:
    run = pipeline.run()
    assert run.read[INPUT] > 0
    assert run.written[OUTPUT] == sum(run.read.values())
    assert run.written[ERRORS] == 0


def test_a_second_run_writes_nothing(pipeline: Pipeline) -> None:
    pipeline.run()
    assert not any(pipeline.run().written.values())
