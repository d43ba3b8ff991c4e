"""An image is read by reference, or a code and a reason say why it is not."""

import base64
import importlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from foundry_cm.local.platform.faults import parse_fault
from foundry_cm.local.platform.resources import Resource
from tests.conftest import Render
from tests.platforms import LocalPlatform, running_platform
from tests.sources.upstream import Upstream, upstream

MEDIA_SET, DATASET = Resource("images", "media_set"), Resource("files")
SOURCE = """
[cameras]
url = "{url}/cameras"
ca = "{ca}"
headers = {{ Authorization = "Bearer camera" }}
query = {{ size = "large" }}
"""


def picture(width: int = 40, height: int = 30, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "orange").save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """A system outside Foundry that has one picture."""
    with upstream(tmp_path_factory.mktemp("cameras")) as running:
        running.files["/base/cameras/1/latest?size=large"] = picture(64, 48)
        yield running


@pytest.fixture(scope="module")
def platform(
    cameras: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalPlatform]:
    """A platform with pictures, for a module that has application permissions and a Source."""
    folder = tmp_path_factory.mktemp("platform")
    (folder / "sources.local.toml").write_text(SOURCE.format(url=cameras.url, ca=cameras.ca))
    with running_platform(folder, [MEDIA_SET, DATASET]) as running:
        running.put("images/picture.png", picture())
        running.put("images/text.png", b"no picture")
        running.put("images/huge.png", b"\0" * 21_000_000)
        running.put("images/wide.png", picture(9000, 6000))
        running.put("files/a folder/picture.png", picture(20, 10))
        yield running


@pytest.fixture
def images(render: Render, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package cmkit.images of a module, as it is after its start."""
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FOUNDRY_HOSTNAME", raising=False)
    monkeypatch.delenv("FOUNDRY_TOKEN", raising=False)
    monkeypatch.syspath_prepend(render(example="yolo") / "src")
    for name in [name for name in sys.modules if name.split(".")[0] == "cmkit"]:
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module("cmkit.images")


Reference = tuple[str, str, str]
NO_ITEM = "ri.mio.main.media-item.00000000-0000-0000-0000-000000000000"


def item(path: str) -> Reference:
    """A reference to an item of the media set, for `resolved`."""
    return ("media_item", MEDIA_SET.rid, path)


def resolved(platform: LocalPlatform, reference: Reference) -> Reference:
    """The reference with the RID of an item in place of its path."""
    kind, parent, where = reference
    if parent == MEDIA_SET.rid:
        found = platform.registry.media_set(parent).by_path(where)
        where = found.rid if found else where
    return kind, parent, where


def inline(content: bytes) -> tuple[str, str, str]:
    return ("inline", "", base64.b64encode(content).decode())


@pytest.mark.parametrize(
    ("reference", "size"),
    [
        (item("picture.png"), (40, 30)),
        (("dataset_file", DATASET.rid, "/a folder/picture.png"), (20, 10)),
        (("source", "cameras", "/1/latest"), (64, 48)),
        (inline(picture(8, 8, "JPEG")), (8, 8)),
    ],
)
def test_each_kind_of_reference_is_read(
    images: Any, platform: LocalPlatform, reference: Reference, size: tuple[int, int]
) -> None:
    image = images.read_image(*resolved(platform, reference))
    assert (image.size, image.mode) == (size, "RGB")


@pytest.mark.parametrize(
    ("reference", "code", "message"),
    [
        (
            ("file", "", "x"),
            "bad_reference",
            'kind is "file"; give one of media_item, dataset_file, source, inline',
        ),
        (
            ("media_item", "", "ri.mio.main.media-item.picture"),
            "bad_reference",
            "media_item needs a media set in parent and one of its items in item",
        ),
        (
            ("inline", MEDIA_SET.rid, "x"),
            "bad_reference",
            "inline needs base64 in item and nothing in",
        ),
        (item("x"), "bad_reference", "a RID of the reference is not one"),
        (item(NO_ITEM), "not_found", "the platform has no such item"),
        (item("text.png"), "not_an_image", "the file is in no image format"),
        (item("huge.png"), "too_large", "the file has more than 20,000,000 bytes"),
        (item("wide.png"), "too_large", "the image has 9000 x 6000 pixels, more than 50 million"),
        (("source", "camera", "1"), "not_permitted", 'no REST Source "camera" is imported'),
        (("source", "cameras", "2"), "not_found", "the Source cameras answered 404"),
        (("inline", "", "%%"), "not_an_image", "inline is not base64"),
        (("inline", "", "A" * 1_400_000), "too_large", "an inline image has at most 1,000,000"),
        (inline(picture(800, 600)[:200]), "not_an_image", "the image is damaged: "),
    ],
)
def test_what_cannot_be_read_has_a_code_and_a_reason(
    images: Any, platform: LocalPlatform, reference: Reference, code: str, message: str
) -> None:
    with pytest.raises(images.ImageError) as refused:
        images.read_image(*resolved(platform, reference))
    assert refused.value.code == code
    assert str(refused.value).startswith(message)


def test_service_user_without_a_role_may_not_read(images: Any, platform: LocalPlatform) -> None:
    platform.faults.faults.append(parse_fault("403@read"))
    with pytest.raises(images.ImageError) as refused:
        images.read_image(*resolved(platform, item("picture.png")))
    assert refused.value.code == "not_permitted"
    assert str(refused.value) == "the service user of the module may not read this item"


def test_source_is_called_with_its_headers(images: Any, cameras: Upstream) -> None:
    images.read_image("source", "cameras", "1/latest")
    assert cameras.authorizations[-1] == "Bearer camera"


def test_module_without_permissions_says_where_to_grant_them(
    images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLIENT_ID")
    with pytest.raises(images.ImageError, match="Configure tab, Permissions") as refused:
        images.read_image(*item(NO_ITEM))
    assert refused.value.code == "not_permitted"


def test_platform_that_is_away_is_said_to_be(
    images: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    discovery = tmp_path / "discovery.yml"
    discovery.write_text(
        'api_gateway: ["https://127.0.0.1:1/api"]\nmultipass: ["https://127.0.0.1:1/multipass/api"]\n'
    )
    monkeypatch.setenv("FOUNDRY_SERVICE_DISCOVERY_V2", str(discovery))
    with pytest.raises(images.ImageError, match="the platform did not answer") as refused:
        images.read_image(*item(NO_ITEM))
    assert refused.value.code == "unavailable"


def test_image_is_turned_upright(images: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    assert images.read_image(*inline(picture(40, 30, "JPEG", exif=exif))).size == (30, 40)
