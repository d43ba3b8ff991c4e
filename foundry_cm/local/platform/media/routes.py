"""The routes of `client.media_sets` that move items; transformations are left out.

The client has no call that lists a media set (foundry-platform-sdk 1.111.0). Foundry's own pages use
`POST /mio/api/media-set/RID/paging`, which is documented nowhere: docs/parity.md says what is known.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.media.store import Item, MediaSet
from foundry_cm.local.platform.registry import REGISTRY
from foundry_cm.local.platform.requests import json_body, preview, receive, send
from foundry_cm.local.platform.resources import USER_ID, checked_path, iso

BASE = "/api/v2/mediasets/{media_set}"
ITEM = f"{BASE}/items/{{item}}"
PAGE_ITEMS = 1000
PLACES = ("branchName", "branchRid", "viewRid")


def routes() -> list[web.RouteDef]:
    """Every media set route."""
    transaction = f"{BASE}/transactions/{{transaction}}"
    return [
        web.get(BASE, get),
        web.post(f"{BASE}/transactions", begin, name="open-media"),
        web.post(f"{transaction}/commit", commit, name="commit-media"),
        web.post(f"{transaction}/abort", abort, name="abort-media"),
        web.post(f"{BASE}/items", upload, name="upload-media"),
        web.get(f"{BASE}/items/getRidByPath", rid_by_path),
        web.get(ITEM, info),
        web.get(f"{ITEM}/reference", reference),
        web.get(f"{ITEM}/content", content, name="read-media"),
        web.get(f"{ITEM}/original", content, name="read-original"),
        web.post("/mio/api/media-set/{media_set}/paging", paging, name="list-media"),
    ]


def _media_set(request: web.Request) -> MediaSet:
    return request.app[REGISTRY].media_set(request.match_info["media_set"])


def _item(request: web.Request) -> tuple[MediaSet, Item]:
    media_set = _media_set(request)
    return media_set, media_set.item(request.match_info["item"])


def _check_place(request: web.Request, media_set: MediaSet) -> None:
    """At most one of branch name, branch rid and view rid, and one that is there."""
    given = [name for name in PLACES if name in request.query]
    if len(given) > 1:
        raise ApiError("ConflictingMediaSetIdentifiers")
    if request.query.get("branchName", "master") != "master" or "branchRid" in request.query:
        raise ApiError("MediaSetNotFound", mediaSetRid=media_set.resource.rid)
    if request.query.get("viewRid", media_set.view_rid) != media_set.view_rid:
        raise ApiError("MediaSetNotFound", mediaSetRid=media_set.resource.rid)


async def get(request: web.Request) -> web.Response:
    """Schema, policy and default branch."""
    preview(request)
    return web.json_response(_media_set(request).describe())


async def begin(request: web.Request) -> web.Response:
    """Opens a transaction and returns its id."""
    preview(request)
    media_set = _media_set(request)
    _check_place(request, media_set)
    return web.json_response(media_set.begin())


async def commit(request: web.Request) -> web.Response:
    """Commits a transaction."""
    preview(request)
    _media_set(request).commit(request.match_info["transaction"])
    return web.Response(status=204)


async def abort(request: web.Request) -> web.Response:
    """Aborts a transaction."""
    preview(request)
    _media_set(request).abort(request.match_info["transaction"])
    return web.Response(status=204)


async def upload(request: web.Request) -> web.Response:
    """Uploads an item into the open transaction."""
    preview(request)
    media_set = _media_set(request)
    _check_place(request, media_set)
    transaction = request.query.get("transactionId")
    media_set.check_open(transaction)
    path = request.query.get("mediaItemPath")
    if not path:
        raise ApiError("MissingMediaItemPath", mediaSetRid=media_set.resource.rid)
    checked_path(path)
    received = media_set.staging()
    await receive(request, received)
    item = media_set.add(str(transaction), path, received, request.query.get("mediaItemRid"))
    request.app[REGISTRY].activity.wrote(media_set.resource.alias)
    return web.json_response({"mediaItemRid": item.rid, "mediaSetViewRid": media_set.view_rid})


async def rid_by_path(request: web.Request) -> web.Response:
    """The rid of the item at a path; an empty object where there is none."""
    preview(request)
    media_set = _media_set(request)
    _check_place(request, media_set)
    item = media_set.by_path(request.query.get("mediaItemPath", ""))
    return web.json_response({"mediaItemRid": item.rid} if item else {})


async def paging(request: web.Request) -> web.Response:
    """A page of the items, the latest first; the token of the next page is its offset (inferred)."""
    media_set = _media_set(request)
    body = await json_body(request)
    if body.get("type") != {"type": "fromLatest", "fromLatest": {}}:
        raise ApiError("Default:InvalidArgument", status=400)
    token = str(body.get("pageToken", "0"))
    if not token.isdecimal():
        raise ApiError("InvalidPageToken", pageToken=token)
    start = int(token)
    items = media_set.latest()
    page = [
        {"mediaItemRid": item.rid, "path": item.path, "logicalTimestamp": item.stamp}
        for item in items[start : start + PAGE_ITEMS]
    ]
    more = start + PAGE_ITEMS < len(items)
    if start == 0:
        request.app[REGISTRY].activity.listed(media_set.resource.alias)
    return web.json_response(
        {"records": page, **({"nextPageToken": str(start + PAGE_ITEMS)} if more else {})}
    )


def _sizes(size: int) -> dict[str, Any]:
    return {"sizeBytes": min(size, 2_147_483_647), "sizeBytesLong": str(size)}


async def info(request: web.Request) -> web.Response:
    """Path, type, size and time of an item."""
    media_set, item = _item(request)
    kind = media_set.media_type(item)
    body = {
        "viewRid": media_set.view_rid,
        "path": item.path,
        "logicalTimestamp": str(item.stamp),
        "attribution": {"creatorId": USER_ID, "creationTimestamp": iso(item.stamp / 1_000_000)},
        "originallyUploadedFileMimeType": kind,
        "mimeType": kind,
        **_sizes(media_set.size(item)),
    }
    return web.json_response(body)


async def reference(request: web.Request) -> web.Response:
    """The media reference that a dataset or an object would hold."""
    preview(request)
    media_set, item = _item(request)
    view_item = {
        "mediaSetRid": media_set.resource.rid,
        "mediaSetViewRid": media_set.view_rid,
        "mediaItemRid": item.rid,
    }
    body = {
        "mimeType": media_set.media_type(item),
        "reference": {"type": "mediaSetViewItem", "mediaSetViewItem": view_item},
    }
    return web.Response(text=json.dumps(body), content_type="application/json")


async def content(request: web.Request) -> web.StreamResponse:
    """The bytes of an item; nothing is transcoded here, so the original is the same."""
    media_set, item = _item(request)
    location = media_set.location(item)
    request.app[REGISTRY].activity.read(media_set.resource.alias, location, item.rid)
    return await send(request, location, media_set.size(item), media_set.media_type(item))
