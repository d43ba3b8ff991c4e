"""`client.streams` against the local platform."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from foundry_sdk import (
    BadRequestError,
    Config,
    FoundryClient,
    NotFoundError,
    RequestEntityTooLargeError,
)
from foundry_sdk._core import ComputeModulePipelineAuth
from foundry_sdk.v2.core import errors as core_errors
from foundry_sdk.v2.streams import errors

from tests.platforms import LocalPlatform

# The client warns and falls back to a general exception when parameters are missing.
pytestmark = pytest.mark.filterwarnings("error:.*Deserialization failed")


@pytest.fixture(params=["discovered", "named"])
def client(platform: LocalPlatform, request: pytest.FixtureRequest) -> Any:
    """With service discovery the client calls the stream proxy, with a host name the API gateway."""
    if request.param == "discovered":
        return platform.client()
    return FoundryClient(
        auth=ComputeModulePipelineAuth(),
        hostname=platform.url.removeprefix("https://"),
        config=Config(verify=str(platform.ca)),
    )


def schema(*fields: tuple[str, str], keys: list[str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "fields": [
            {"name": name, "schema": {"nullable": True, "dataType": {"type": kind}}}
            for name, kind in fields
        ]
    }
    return {**found, "keyFieldNames": keys} if keys else found


def create(client: Any, rid: str, wanted: dict[str, Any], **options: Any) -> Any:
    stream = client.streams.Dataset.Stream
    return stream.create(rid, branch_name="master", schema=wanted, preview=True, **options)


def test_published_records_are_json_lines_with_offsets(
    platform: LocalPlatform, client: Any
) -> None:
    rid, stream = platform.rid("published"), client.streams.Dataset.Stream
    create(client, rid, schema(("id", "long"), ("text", "string")))
    stream.publish_record(rid, "master", record={"id": 1, "text": "one"})
    stream.publish_records(rid, "master", records=[{"id": 2, "text": "zwei"}, {"id": 3}])
    assert stream.get_end_offsets(rid, "master", preview=True) == {"0": 3}
    found = stream.get_records(
        rid, "master", limit=2, partition_id="0", start_offset=1, preview=True
    )
    assert [(each.offset, each.value) for each in found] == [
        (1, {"id": 2, "text": "zwei"}),
        (2, {"id": 3}),
    ]
    lines = (platform.root / "outputs/published/partition-0.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2, 3]


def test_a_batch_with_one_wrong_record_is_refused_whole(
    platform: LocalPlatform, client: Any
) -> None:
    rid, stream = platform.rid("published"), client.streams.Dataset.Stream
    create(client, rid, schema(("id", "long")))
    with pytest.raises(BadRequestError, match="RecordDoesNotMatchStreamSchema"):
        stream.publish_records(rid, "master", records=[{"id": 1}, {"id": "x"}])
    with pytest.raises(BadRequestError, match="RecordDoesNotMatchStreamSchema"):
        stream.publish_record(rid, "master", record={"other": 1})
    assert stream.get_end_offsets(rid, "master", preview=True) == {"0": 0}


def test_a_record_over_one_megabyte_is_too_large(platform: LocalPlatform, client: Any) -> None:
    rid, stream = platform.rid("published"), client.streams.Dataset.Stream
    with pytest.raises(RequestEntityTooLargeError, match="RecordTooLarge"):
        stream.publish_records(rid, "master", records=[{"text": "x"}, {"text": "x" * 1_000_000}])
    assert stream.get_end_offsets(rid, "master", preview=True) == {"0": 0}


def test_a_key_keeps_its_partition(platform: LocalPlatform, client: Any) -> None:
    rid, stream = platform.rid("published"), client.streams.Dataset.Stream
    made = create(
        client, rid, schema(("key", "string"), ("n", "long"), keys=["key"]), partitions_count=3
    )
    assert (made.partitions_count, made.schema_.key_field_names) == (3, ["key"])
    for number in range(12):
        stream.publish_record(rid, "master", record={"key": f"k{number % 4}", "n": number})
    ends = stream.get_end_offsets(rid, "master", preview=True)
    assert (sorted(ends), sum(ends.values())) == (["0", "1", "2"], 12)
    for partition, end in ends.items():
        records = stream.get_records(
            rid, "master", limit=end + 1, partition_id=partition, preview=True
        )
        for key in {each.value["key"] for each in records}:
            assert sum(each.value["key"] == key for each in records) == 3


def test_errors_by_name(platform: LocalPlatform, client: Any) -> None:
    rid, stream = platform.rid("published"), client.streams.Dataset.Stream
    with pytest.raises(errors.StreamNotFound):
        stream.get(rid, "dev")
    with pytest.raises(errors.InvalidStreamNoSchema):
        stream.get(rid, "master")
    with pytest.raises(core_errors.InvalidSchema):
        create(client, rid, {"fields": []})
    with pytest.raises(BadRequestError, match="ApiFeaturePreviewUsageOnly"):
        stream.get_end_offsets(rid, "master")
    with pytest.raises(NotFoundError, match="ViewNotFound"):
        stream.publish_record(
            rid,
            "master",
            record={},
            view_rid="ri.foundry.main.stream-view.00000000-0000-0000-0000-000000000000",
        )
    with pytest.raises(errors.PublishRecordToStreamPermissionDenied):
        stream.publish_record(platform.rid("events"), "master", record={"id": 1})


def test_an_input_stream_is_lines_a_person_appends(platform: LocalPlatform, client: Any) -> None:
    rid, stream = platform.rid("events"), client.streams.Dataset.Stream
    assert stream.get_end_offsets(rid, "master", preview=True) == {"0": 0}
    path = platform.root / "data/events/partition-0.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"id": 1, "text": "one"}\n\n{"id": 2, "text": "two"}\n')
    assert stream.get_end_offsets(rid, "master", preview=True) == {"0": 2}
    with path.open("a") as file:
        file.write('{"id": 3, "text": "three"}\n')
    found = stream.get_records(rid, "master", limit=9, partition_id="0", preview=True)
    assert [each.value["id"] for each in found] == [1, 2, 3]
    assert [each.name for each in stream.get(rid, "master").schema_.fields] == ["id", "text"]
    (path.parent / "archive.jsonl").write_text('{"id": 0, "text": "old"}\n')
    assert stream.get_end_offsets(rid, "master", preview=True) == {"archive": 1, "0": 3}


def test_the_raw_stream_proxy_routes(platform: LocalPlatform) -> None:
    rid = platform.rid("published")
    headers = {"Authorization": f"Bearer {platform.tokens.pipeline}"}
    base = f"{platform.url}/stream-proxy/api/streams/{rid}/branches/master"
    with httpx.Client(headers=headers, verify=platform.tls) as raw:
        assert raw.post(f"{base}/jsonRecord", json={"id": 1}).status_code == 204
        assert raw.get(f"{base}/records").json() == [{"value": {"id": 1}}]
        assert raw.post(f"{base}/jsonRecord", json={"records": [{"id": 2}]}).status_code == 204
        for number, body in enumerate(
            (
                [{"id": 3}],
                [{"value": {"id": 4}}],
                {"records": [{"id": 5}]},
                {"records": [{"value": {"id": 6}}]},
            )
        ):
            told = raw.post(f"{base}/jsonRecords", json=body).json()
            place = {"offset": number + 2, "partitionId": 0}
            assert told["offsetAndPartitionIds"] == [place]
        records = raw.get(f"{base}/records").json()
        assert [each["value"]["id"] for each in records] == [1, 2, 3, 4, 5, 6]


def test_a_field_of_the_schema_is_never_taken_for_a_wrapper(
    platform: LocalPlatform, client: Any
) -> None:
    rid = platform.rid("published")
    create(client, rid, schema(("value", "string"), ("n", "long")))
    record = {"value": "a"}
    headers = {"Authorization": f"Bearer {platform.tokens.pipeline}"}
    url = f"{platform.url}/stream-proxy/api/streams/{rid}/branches/master/jsonRecords"
    with httpx.Client(headers=headers, verify=platform.tls) as raw:
        assert raw.post(url, json=[record]).status_code == 200
    found = client.streams.Dataset.Stream.get_records(
        rid, "master", limit=9, partition_id="0", preview=True
    )
    assert [each.value for each in found] == [record]


@pytest.mark.parametrize("body", ["{", "[1]", '{"record": {"id": 1}}', "7"])
def test_a_body_of_another_shape_is_told_which_ones_are_known(
    platform: LocalPlatform, body: str
) -> None:
    rid = platform.rid("published")
    headers = {"Authorization": f"Bearer {platform.tokens.pipeline}"}
    url = f"{platform.url}/stream-proxy/api/streams/{rid}/branches/master/jsonRecords"
    told = httpx.post(url, content=body, headers=headers, verify=platform.tls).json()
    assert told["errorName"] == "InvalidRequestBody"
    assert told["parameters"]["message"] == (
        "jsonRecord takes one record; jsonRecords takes [record, ...], "
        '[{"value": record}, ...] or {"records": [...]}; a record is a JSON object'
    )


def test_a_record_that_does_not_fit_hears_why(platform: LocalPlatform, client: Any) -> None:
    rid, stream = platform.rid("published"), client.streams.Dataset.Stream
    create(client, rid, schema(("id", "long"), ("text", "string")))
    with pytest.raises(BadRequestError) as caught:
        stream.publish_record(rid, "master", record={"id": "x", "txt": "y"})
    told = json.loads(str(caught.value))["parameters"]["message"]
    assert told == '"txt" is not one of its fields; "id" is no long. The fields: id, text'
