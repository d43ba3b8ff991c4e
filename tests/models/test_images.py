"""An image is read by reference, or a code and a reason say why it is not."""

import base64
import importlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from foundry_sdk._core.api_client import BaseApiClient
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
    return saved(Image.new("RGB", (width, height), "orange"), form, **options)


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
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
        running.put("images/empty.png", b"")
        running.put("images/huge.png", b"\0" * 21_000_000)
        running.put("images/wide.png", picture(9000, 6000))
        running.put("files/a folder/picture.png", picture(20, 10))
        yield running


@pytest.fixture(scope="module")
def module(render: Render) -> Path:
    return render(example="yolo")


@pytest.fixture
def images(module: Path, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package cmkit.images of a module, as it is after its start."""
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FOUNDRY_HOSTNAME", raising=False)
    monkeypatch.delenv("FOUNDRY_TOKEN", raising=False)
    monkeypatch.syspath_prepend(module / "src")
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
        (("inline", "", base64.encodebytes(picture(8, 8)).decode()), (8, 8)),
        (("inline", "", "data:image/png;base64," + inline(picture(8, 8))[2]), (8, 8)),
        (("inline", "", "data:;BASE64," + inline(picture(8, 8))[2].replace("/", "%2F")), (8, 8)),
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
        (("inline", "", ""), "not_an_image", "the file is empty"),
        (("inline", "", "data:image/png;base64,"), "not_an_image", "the file is empty"),
        (("inline", "", "data:,a"), "not_an_image", "inline is a data: URL without ;base64"),
        (item("empty.png"), "not_an_image", "the file is empty"),
        (
            ("dataset_file", DATASET.rid, ".."),
            "bad_reference",
            "the path of a file cannot have . or",
        ),
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


@pytest.mark.parametrize(
    "path",
    [
        "../admin",
        "1/%2e%2E/../admin",
        "1/%252e%252e/admin",
        "..%2fadmin",
        "..\\admin",
        "..;a/admin",
        "\u2025/admin",
        "%c0%ae%c0%ae/admin",
    ],
)
def test_no_path_leads_out_of_the_address_of_a_source(
    images: Any, cameras: Upstream, path: str
) -> None:
    before = len(cameras.authorizations)
    with pytest.raises(images.ImageError) as refused:
        images.read_image("source", "cameras", path)
    assert refused.value.code == "bad_reference"
    assert str(refused.value) == "the path leads out of the address of its Source"
    assert len(cameras.authorizations) == before


@pytest.mark.parametrize("path", ["1/latest?size=small", "1/latest%3Fa=b", "1/latest#a", "1/\n"])
def test_a_caller_adds_no_query_to_a_source(images: Any, path: str) -> None:
    with pytest.raises(images.ImageError) as refused:
        images.read_image("source", "cameras", path)
    assert str(refused.value) == "the path has more in it than folders and a name"


def test_the_headers_of_a_source_go_to_no_other_host(images: Any, cameras: Upstream) -> None:
    port = cameras.url.rpartition(":")[2].partition("/")[0]
    cameras.redirects["/base/cameras/moved"] = f"https://127.0.0.1:{port}/base/cameras/1/latest"
    before = len(cameras.authorizations)
    with pytest.raises(images.ImageError) as refused:
        images.read_image("source", "cameras", "moved")
    assert str(refused.value) == "the Source redirects to another host"
    assert len(cameras.authorizations) == before + 1


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "not_found", "the platform has no such item"),
        (403, "not_permitted", "the service user of the module may not read this item"),
        (502, "unavailable", "the platform answered 502: SDKInternalError"),
    ],
)
def test_an_answer_that_is_no_json_is_known_by_its_status(
    images: Any, monkeypatch: pytest.MonkeyPatch, status: int, code: str, message: str
) -> None:
    asked: Any = SimpleNamespace(resource_path="", throwable_errors={})

    def answered() -> Any:
        client: Any = None
        BaseApiClient._handle_error(client, asked, httpx.Response(status, text="<html>"))

    monkeypatch.setattr("cmkit.images.references.platform", answered)
    with pytest.raises(images.ImageError) as refused:
        images.read_image(*item(NO_ITEM))
    assert (refused.value.code, str(refused.value)) == (code, message)


def greys(images: Any, image: Image.Image, form: str = "PNG", **options: Any) -> Any:
    """What the model is given of a picture, as one number for each pixel."""
    decoded = np.asarray(images.read_image(*inline(saved(image, form, **options))))
    assert (decoded == decoded[:, :, :1]).all()
    return decoded[:, :, 0].tolist()


def test_values_of_more_than_8_bits_are_seen_in_the_range_of_their_picture(images: Any) -> None:
    values = np.array([[1000, 1500, 3000]])
    assert greys(images, Image.fromarray(values.astype(np.uint16))) == [[0, 64, 255]]
    kelvin = np.array([[250.5, 275.5, np.nan, 350.5]], np.float32)
    assert greys(images, Image.fromarray(kelvin), "TIFF") == [[0, 64, 255, 255]]
    assert greys(images, Image.fromarray(values.astype(np.int32) * 10**5), "TIFF") == [[0, 64, 255]]
    assert greys(images, Image.fromarray(np.full((1, 2), 7, np.uint16))) == [[0, 0]]
    nothing = np.full((1, 2), np.nan, np.float32)
    assert greys(images, Image.fromarray(nothing), "TIFF") == [[255, 255]]


def test_transparent_pixels_show_a_white_background(images: Any) -> None:
    hidden = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    hidden.putpixel((0, 0), (0, 0, 0, 51))
    assert greys(images, hidden) == [[204, 255]]
    assert greys(images, hidden.convert("LA")) == [[204, 255]]
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([9, 9, 9, 0, 0, 0])
    palette.putpixel((0, 0), 0)
    assert greys(images, palette, transparency=1) == [[9, 255]]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (EPS, "EPS"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC, as an iPhone saves it"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (b"%PDF-1.7", "PDF"),
        (b'<?xml version="1.0"?>\n<svg>', "SVG"),
        (b"\0" * 128 + b"DICM", "DICOM"),
        (b"\n<!DOCTYPE html>", "a web page"),
    ],
)
def test_what_is_no_photograph_is_named_and_not_opened(
    images: Any, monkeypatch: pytest.MonkeyPatch, content: bytes, name: str
) -> None:
    with pytest.raises(images.ImageError) as refused:
        images.read_image(*inline(content))
    formats = "AVIF, BMP, GIF, JPEG, JPEG2000, PNG, PPM, TIFF, WEBP"
    assert refused.value.code == "not_an_image"
    assert str(refused.value) == f"the file is {name}; save it as one of {formats}"


@pytest.mark.parametrize("form", ["AVIF", "BMP", "GIF", "JPEG2000", "MPO", "PPM", "TIFF", "WEBP"])
def test_formats_of_photographs_are_read(images: Any, form: str) -> None:
    assert images.read_image(*inline(picture(8, 8, form))).size == (8, 8)


def test_of_several_frames_the_first_is_looked_at(images: Any) -> None:
    frames = [Image.new("L", (2, 1), shade) for shade in (10, 200)]
    assert greys(images, frames[0], "TIFF", save_all=True, append_images=frames[1:]) == [[10, 10]]


def test_only_so_many_pixels_are_decoded_at_a_time(
    images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmkit.images.decode.MOST_PIXELS_TOGETHER", 250)
    files: list[Any] = [picture(10, 10)] * 5
    files.insert(1, images.ImageError("not_found", "nothing"))
    files.insert(3, b"no picture")
    groups: list[list[Any]] = []

    def look(group: list[Any]) -> list[str]:
        groups.append([getattr(image, "size", None) for image in group])
        return [getattr(image, "code", "seen") for image in group]

    assert list(images.look_at(files, look)) == [
        "seen",
        "not_found",
        "seen",
        "not_an_image",
        *3 * ["seen"],
    ]
    size = (10, 10)
    assert groups == [[size, None, size, None], [size, size], [size]]
    assert list(images.look_at([], look)) == []
