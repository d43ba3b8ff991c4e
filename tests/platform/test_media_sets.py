"""`client.media_sets` against the local platform."""

from __future__ import annotations

import os
import uuid
from typing import Any

import httpx
import pytest
from foundry_sdk import BadRequestError, ConflictError, NotFoundError, PermissionDeniedError

from foundry_cm.local.platform.media import routes, store
from tests.platforms import LocalPlatform

# The client warns and falls back to a general exception when parameters are missing.
pytestmark = pytest.mark.filterwarnings("error:.*Deserialization failed")


def upload(client: Any, rid: str, path: str, body: bytes, **options: Any) -> Any:
    return client.media_sets.MediaSet.upload(
        rid, body, media_item_path=path, preview=True, **options
    )


def test_items_show_after_the_commit(platform: LocalPlatform, client: Any) -> None:
    rid, media = platform.rid("pictures"), client.media_sets.MediaSet
    transaction = media.create(rid, preview=True)
    put = upload(client, rid, "a/one.png", b"png", transaction_id=transaction)
    assert media.get_rid_by_path(rid, media_item_path="a/one.png", preview=True).media_item_rid is (
        None
    )
    media.commit(rid, transaction, preview=True)
    found = media.get_rid_by_path(rid, media_item_path="a/one.png", preview=True)
    assert found.media_item_rid == put.media_item_rid
    assert (platform.root / "outputs/pictures/a/one.png").read_bytes() == b"png"
    assert media.read(rid, put.media_item_rid) == b"png"
    assert media.read_original(rid, put.media_item_rid) == b"png"
    info = media.info(rid, put.media_item_rid)
    assert (info.path, info.mime_type, info.size_bytes_long) == ("a/one.png", "image/png", 3)
    reference = media.reference(rid, put.media_item_rid, preview=True)
    assert reference.reference.media_set_view_item.media_item_rid == put.media_item_rid
    assert media.get(rid, preview=True).transaction_policy.type == "batchTransactions"


def test_an_abort_drops_the_items(platform: LocalPlatform, client: Any) -> None:
    rid, media = platform.rid("pictures"), client.media_sets.MediaSet
    transaction = media.create(rid, preview=True)
    put = upload(client, rid, "one.png", b"png", transaction_id=transaction)
    media.abort(rid, transaction, preview=True)
    with pytest.raises(NotFoundError, match="MediaItemNotFound"):
        media.read(rid, put.media_item_rid)
    assert not list((platform.root / "outputs/pictures").glob("*.png"))


def test_a_path_is_replaced(platform: LocalPlatform, client: Any) -> None:
    rid, media = platform.rid("pictures"), client.media_sets.MediaSet
    for body in (b"old", b"new"):
        transaction = media.create(rid, preview=True)
        put = upload(client, rid, "one.png", body, transaction_id=transaction)
        media.commit(rid, transaction, preview=True)
    assert media.read(rid, put.media_item_rid) == b"new"
    assert (platform.root / "outputs/pictures/one.png").read_bytes() == b"new"


def test_ten_thousand_items_are_the_limit(
    platform: LocalPlatform, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.TRANSACTION_LIMIT == 10_000
    monkeypatch.setattr(store, "TRANSACTION_LIMIT", 3)
    rid = platform.rid("pictures")
    transaction = client.media_sets.MediaSet.create(rid, preview=True)
    for number in range(3):
        upload(client, rid, f"{number}.png", b"png", transaction_id=transaction)
    with pytest.raises(BadRequestError, match="MediaSetTransactionItemLimitExceeded"):
        upload(client, rid, "3.png", b"png", transaction_id=transaction)


def test_refusals(platform: LocalPlatform, client: Any) -> None:
    rid, media = platform.rid("pictures"), client.media_sets.MediaSet
    with pytest.raises(BadRequestError, match="MediaSetTransactionNotOpen"):
        upload(client, rid, "one.png", b"png")
    transaction = media.create(rid, preview=True)
    with pytest.raises(ConflictError, match="MediaSetOpenTransactionAlreadyExists"):
        media.create(rid, preview=True)
    with pytest.raises(BadRequestError, match="MissingMediaItemContent"):
        upload(client, rid, "one.png", b"", transaction_id=transaction)
    with pytest.raises(BadRequestError, match="InvalidFilePath"):
        upload(client, rid, "../../one.png", b"png", transaction_id=transaction)
    with pytest.raises(BadRequestError, match="MissingMediaItemPath"):
        media.upload(rid, b"png", transaction_id=transaction, preview=True)
    view = "ri.mio.main.view.00000000-0000-0000-0000-000000000000"
    with pytest.raises(BadRequestError, match="ConflictingMediaSetIdentifiers"):
        upload(client, rid, "a", b"a", branch_name="master", view_rid=view)
    with pytest.raises(BadRequestError, match="ApiFeaturePreviewUsageOnly"):
        media.create(rid)
    with pytest.raises(NotFoundError, match="MediaSetNotFound"):
        media.get(f"ri.mio.main.media-set.{uuid.uuid4()}", preview=True)


def test_a_chosen_item_rid(platform: LocalPlatform, client: Any) -> None:
    rid, media = platform.rid("pictures"), client.media_sets.MediaSet
    item = f"ri.mio.main.media-item.{uuid.uuid4()}"
    transaction = media.create(rid, preview=True)
    options = {"transaction_id": transaction, "media_item_rid": item}
    assert upload(client, rid, "one.png", b"png", **options).media_item_rid == item
    with pytest.raises(ConflictError, match="MediaItemRidAlreadyExists"):
        upload(client, rid, "two.png", b"png", **options)


def test_an_input_media_set_is_a_folder(platform: LocalPlatform, client: Any) -> None:
    path = platform.root / "data/images/cats/one.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"jpg")
    rid, media = platform.rid("images"), client.media_sets.MediaSet
    found = media.get_rid_by_path(rid, media_item_path="cats/one.jpg", preview=True)
    assert media.read(rid, found.media_item_rid) == b"jpg"
    with pytest.raises(PermissionDeniedError):
        media.create(rid, preview=True)


LATEST = {"type": {"type": "fromLatest", "fromLatest": {}}}


def test_the_listing_of_foundrys_own_pages(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "PAGE_ITEMS", 2)
    for number, name in enumerate(("old.jpg", "b/new.jpg", "mid.jpg")):
        path = platform.root / "data/images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, (stamp := (1, 3, 2)[number], stamp))
    address = f"{platform.url}/mio/api/media-set/{platform.rid('images')}/paging"
    with httpx.Client(verify=platform.tls) as raw:
        assert raw.post(address, json=LATEST).status_code == 401
        raw.headers["Authorization"] = f"Bearer {platform.tokens.pipeline}"
        first = raw.post(address, json=LATEST).json()
        assert [each["path"] for each in first["records"]] == ["b/new.jpg", "mid.jpg"]
        assert first["records"][0]["logicalTimestamp"] == 3_000_000
        last = raw.post(address, json={**LATEST, "pageToken": first["nextPageToken"]}).json()
        assert [each["path"] for each in last["records"]] == ["old.jpg"]
        assert "nextPageToken" not in last
        wrong = raw.post(address, json={**LATEST, "pageToken": "x"}).json()
        assert wrong["errorName"] == "InvalidPageToken"
        assert raw.post(address, json={"type": {}}).status_code == 400
        nowhere = raw.post(address.replace("media-set.", "media-set.0"), json=LATEST).json()
        assert nowhere["errorName"] == "MediaSetNotFound"


def test_an_item_of_an_input_is_its_path_and_its_content(
    platform: LocalPlatform, client: Any
) -> None:
    path, rid = platform.root / "data/images/one.jpg", platform.rid("images")
    path.parent.mkdir(parents=True)
    sets = client.media_sets.MediaSet

    def listed(content: bytes) -> str:
        path.write_bytes(content)
        item = sets.get_rid_by_path(rid, media_item_path="one.jpg", preview=True)
        return str(item.media_item_rid)

    first = listed(b"first")
    assert sets.read(rid, first) == b"first"
    assert listed(b"other") != first
    with pytest.raises(NotFoundError, match="MediaItemNotFound"):
        sets.read(rid, first)
    assert listed(b"first") == first
