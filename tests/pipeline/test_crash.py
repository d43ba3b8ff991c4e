"""The module is killed at every point: what is committed equals a run without faults."""

from __future__ import annotations

import pytest

from tests.pipeline.conftest import MakePipeline, refused, texts

pytestmark = pytest.mark.slow

EXPECTED = sorted(f"ROW {number}" for number in range(500) if number not in (7, 11, 13))
REFUSED = 3

DATASET_POINTS = [
    "before-history",
    "after-history#2",
    "before-list#4",
    "after-list#4",
    "before-read",
    "mid-read",
    "after-read",
    "mid-read#2",
    "before-open",
    "after-open",
    "before-open#2",
    "after-open#2",
    "before-upload",
    "mid-upload",
    "after-upload",
    "after-upload#3",
    "before-checkpoint",
    "mid-checkpoint",
    "after-checkpoint",
    "after-checkpoint#3",
    "before-commit",
    "after-commit",
    "before-commit#2",
    "after-commit#2",
]


@pytest.mark.parametrize("point", DATASET_POINTS)
def test_a_kill_loses_and_doubles_no_row(pipeline: MakePipeline, point: str) -> None:
    module = pipeline()
    run = module.run(faults=[f"kill@{point}"])
    assert run.kills == 1
    assert texts(module) == EXPECTED
    assert len(refused(module)) == REFUSED
    assert not any(module.run().written.values())


BUILD_POINTS = [
    "before-upload",
    "after-upload",
    "after-upload#4",
    "before-checkpoint",
    "after-checkpoint",
    "after-checkpoint#3",
    "mid-read#2",
]


@pytest.mark.parametrize("point", BUILD_POINTS)
def test_a_kill_in_a_builds_transaction_loses_and_doubles_no_row(
    pipeline: MakePipeline, point: str
) -> None:
    module = pipeline()
    run = module.run(faults=[f"kill@{point}"], build=True)
    assert run.kills == 1
    assert texts(module) == EXPECTED
    assert len(refused(module)) == REFUSED


STREAM_POINTS = [
    "before-offsets",
    "before-records",
    "after-records",
    "before-publish",
    "after-publish",
    "after-publish#2",
    "before-checkpoint",
    "after-checkpoint#2",
    "before-commit",
    "after-commit",
]


@pytest.mark.parametrize("point", STREAM_POINTS)
def test_a_kill_loses_no_record_of_a_stream_and_repeats_only_keys(
    pipeline: MakePipeline, point: str
) -> None:
    module = pipeline(inputs={"events": "stream"}, outputs={"output": "stream", "kept": "dataset"})
    run = module.run(faults=[f"kill@{point}"])
    assert run.kills == 1
    expected = sorted(f"ROW {number}" for number in range(400) if number != 7)
    assert texts(module) == expected
    assert texts(module, "kept") == expected
    assert len(refused(module)) == 1


@pytest.mark.parametrize(
    "faults",
    [
        ["429@list", "503@read", "429@upload#2", "503@commit"],
        ["expire-token@upload#2", "expire-token@commit"],
        ["reset@after-open", "reset@after-upload#2", "reset@mid-read", "reset@after-commit"],
        ["fail@commit", "fail@checkpoint", "fail@open"],
        ["latency=0.05"],
    ],
)
def test_a_bad_day_without_a_crash_changes_nothing(
    pipeline: MakePipeline, faults: list[str]
) -> None:
    module = pipeline()
    run = module.run(faults=faults)
    assert run.kills == 0
    assert texts(module) == EXPECTED
    assert len(refused(module)) == REFUSED
