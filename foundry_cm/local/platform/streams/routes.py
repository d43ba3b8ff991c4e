"""The routes of `client.streams`, and the raw stream-proxy ones of the documentation."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from aiohttp import web

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.registry import REGISTRY
from foundry_cm.local.platform.requests import json_body, preview
from foundry_cm.local.platform.resources import DEFAULT_BRANCH
from foundry_cm.local.platform.streams.store import Stream, StreamSchema

STREAMS = "/api/v2/streams/datasets/{dataset}/streams"


def routes() -> list[web.RouteDef]:
    """Every stream route.

    With service discovery the client sends the high-scale ones to `stream_proxy`, with a static
    host name to `api` (SDK: hostname_supplier), so both bases answer.
    """
    found = [
        web.post(STREAMS, create),
        web.get(f"{STREAMS}/{{branch}}", get),
    ]
    raw = "/stream-proxy/api/streams/{dataset}/branches/{branch}"
    found += [
        web.get(f"{raw}/records", raw_records, name="records-raw"),
        web.post(f"{raw}/jsonRecord", raw_publish, name="publish-raw"),
        web.post(f"{raw}/jsonRecords", raw_publish_many, name="publish-raw-many"),
    ]
    for base in ("api", "stream-proxy/api"):
        scale = f"/{base}/v2/highScale/streams/datasets/{{dataset}}/streams/{{branch}}"
        key = base.replace("/", "-")
        found += [
            web.get(f"{scale}/getEndOffsets", get_end_offsets, name=f"offsets-{key}"),
            web.get(f"{scale}/getRecords", get_records, name=f"records-{key}"),
            web.post(f"{scale}/publishRecord", publish_record, name=f"publish-one-{key}"),
            web.post(f"{scale}/publishRecords", publish_records, name=f"publish-many-{key}"),
        ]
    return found


def _stream(request: web.Request, branch: str | None = None) -> Stream:
    name = branch or request.match_info["branch"]
    return request.app[REGISTRY].stream(request.match_info["dataset"], name)


def _longs(offsets: dict[str, int]) -> dict[str, str]:
    """Offsets as the API writes its longs: as text."""
    return {partition: str(offset) for partition, offset in offsets.items()}


def _with_offsets(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"offset": str(each["offset"]), "value": each["value"]} for each in records]


def _check_view(stream: Stream, view: str | None) -> None:
    if view and view != stream.view_rid:
        raise ApiError("ViewNotFound", viewRid=view)


# Streams


async def create(request: web.Request) -> web.Response:
    """Gives an output its schema; once, afterwards `reset` changes it."""
    preview(request)
    body = await json_body(request)
    branch = body.get("branchName", DEFAULT_BRANCH)
    stream = _stream(request, branch)
    if stream.state["schema"] is not None:
        raise ApiError("BranchAlreadyExists", datasetRid=stream.resource.rid, branchName=branch)
    return _created(stream, body)


def _created(stream: Stream, body: dict[str, Any]) -> web.Response:
    if not stream.resource.writable:
        raise stream.denied("CreateStreamPermissionDenied")
    schema = body.get("schema") or {}
    try:
        names = [each.name for each in msgspec.convert(schema, StreamSchema).fields]
    except msgspec.ValidationError as error:
        raise ApiError("InvalidSchema", errorType="FIELDS", message=str(error)) from None
    if not names or len(set(names)) != len(names):
        raise ApiError("InvalidSchema", errorType="FIELDS", message="fields need distinct names")
    kind = body.get("streamType") or "LOW_LATENCY"
    stream.create(schema, int(body.get("partitionsCount") or 1), kind)
    return web.json_response(stream.as_json())


async def get(request: web.Request) -> web.Response:
    """Schema, view and partitions."""
    return web.json_response(_stream(request).as_json())


async def get_end_offsets(request: web.Request) -> web.Response:
    """The offset of the next record, by partition."""
    preview(request)
    stream = _stream(request)
    _check_view(stream, request.query.get("viewRid"))
    request.app[REGISTRY].activity.listed(stream.resource.alias)
    return web.json_response(_longs(stream.end_offsets()))


async def get_records(request: web.Request) -> web.Response:
    """Records of one partition from an offset on."""
    preview(request)
    stream = _stream(request)
    _check_view(stream, request.query.get("viewRid"))
    try:
        start, limit = int(request.query.get("startOffset", "0")), int(request.query["limit"])
    except (KeyError, ValueError):
        raise ApiError("InvalidParameterValue") from None
    partition = request.query.get("partitionId", "0")
    records = stream.records(partition, start, limit)
    _note_read(request, stream, partition, records)
    return web.json_response(_with_offsets(records))


def _writable(request: web.Request, what: str) -> Stream:
    stream = _stream(request)
    if not stream.resource.writable:
        raise stream.denied(f"Publish{what}ToStreamPermissionDenied")
    return stream


def _note_read(
    request: web.Request, stream: Stream, partition: str, records: list[dict[str, Any]]
) -> None:
    if records:
        start, stop = records[0]["offset"], records[-1]["offset"] + 1
        alias = stream.resource.alias
        request.app[REGISTRY].activity.read_records(alias, partition, start, stop)


def _publish(request: web.Request, records: list[Any], what: str = "Record") -> web.Response:
    stream = _writable(request, what)
    if not all(isinstance(record, dict) for record in records):
        raise _unknown_shape()
    stream.publish(records)
    request.app[REGISTRY].activity.wrote(stream.resource.alias)
    return web.Response(status=204)


async def publish_record(request: web.Request) -> web.Response:
    """Appends one record."""
    body = await json_body(request)
    _check_view(_stream(request), body.get("viewRid"))
    return _publish(request, [body.get("record")])


async def publish_records(request: web.Request) -> web.Response:
    """Appends a batch; one record that does not fit refuses all of it (SDK)."""
    body = await json_body(request)
    _check_view(_stream(request), body.get("viewRid"))
    return _publish(request, body.get("records") or [], "Records")


async def raw_records(request: web.Request) -> web.Response:
    """`GET .../records` of the documentation: every record in a `value` envelope."""
    stream = _stream(request)
    found: list[dict[str, Any]] = []
    for partition, end in stream.end_offsets().items():
        start = 0
        while start < end:
            batch = stream.records(partition, start, end - start)
            _note_read(request, stream, partition, batch)
            found += [{"value": each["value"]} for each in batch]
            start += len(batch)
    request.app[REGISTRY].activity.listed(stream.resource.alias)
    return web.json_response(found)


async def raw_publish(request: web.Request) -> web.Response:
    """`POST .../jsonRecord` of the documentation: the bare record is the body."""
    body = await _any_json(request)
    records = _unwrapped(_stream(request), body, "records")
    return _publish(request, records if isinstance(records, list) else [records])


async def raw_publish_many(request: web.Request) -> web.Response:
    """`POST .../jsonRecords`: records, bare or each as `value` (seen in public clients)."""
    stream, body = _stream(request), await _any_json(request)
    records = _unwrapped(stream, body, "records")
    if not isinstance(records, list):
        raise _unknown_shape()
    before = stream.end_offsets()
    _publish(request, [_unwrapped(stream, record, "value") for record in records])
    places = [
        {"offset": offset, "partitionId": int(partition)}
        for partition, end in stream.end_offsets().items()
        for offset in range(before[partition], end)
    ]
    return web.json_response({"topic": stream.view_rid, "offsetAndPartitionIds": places})


async def _any_json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError):
        raise _unknown_shape() from None


def _unwrapped(stream: Stream, value: Any, key: str) -> Any:
    """What lies in an object that has nothing but this key, unless the stream has a field of that name."""
    wrapped = isinstance(value, dict) and list(value) == [key] and not stream.has_field(key)
    return value[key] if wrapped and isinstance(value[key], dict | list) else value


def _unknown_shape() -> ApiError:
    return ApiError(
        "InvalidRequestBody",
        message="jsonRecord takes one record; jsonRecords takes [record, ...], "
        '[{"value": record}, ...] or {"records": [...]}; a record is a JSON object',
    )
