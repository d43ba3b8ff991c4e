"""What an origin sends is held to what it says, and to what the name promises, before it is locked."""

import base64
import gzip
import hashlib
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import HfApi, snapshot_download
from werkzeug.wrappers import Request, Response

from foundry_cm.errors import CmError
from foundry_cm.module.places import Place
from foundry_cm.module.project import Project
from foundry_cm.weights import download as engine
from foundry_cm.weights.content import check_content, runs_code
from foundry_cm.weights.lock import WeightsError, verify
from foundry_cm.weights.origins import resolve
from foundry_cm.weights.request import HuggingFace, check
from tests.models.conftest import REPO, Module
from tests.models.hub import COMMIT, Fault, Hub, dribbled, replies, safetensors, truncated
from tests.models.weights import SAFETENSORS, fetch, lock_of, pull_into

pytestmark = pytest.mark.usefixtures("no_waiting")

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"


@pytest.fixture
def plain(hub: Hub, module: Module, tmp_path_factory: pytest.TempPathFactory) -> Module:
    """A module whose origin is plain https, which states no hash of its files."""
    hub.repos["plain"] = tmp_path_factory.mktemp("origin") / "plain"
    shutil.copytree(hub.repos[REPO], hub.repos["plain"])
    module.ask(origin="https", url=f"{hub.url}/plain/plain", files=[SAFETENSORS, "config.json"])
    return module


def ranges(hub: Hub) -> list[tuple[str | None, str | None]]:
    """Range and If-Range of the requests for the tensors; the first one only asks for their size."""
    seen = [request for request in hub.seen if request.path.endswith(SAFETENSORS)]
    return [(request.headers.get("Range"), request.headers.get("If-Range")) for request in seen]


def nothing_locked(module: Module, what: str) -> CmError:
    """A pull is refused with these words, and leaves no lock and no weights."""
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert refused.value.what == what
    assert not (module.folder / "weights.lock").exists()
    assert module.files() == set()
    return refused.value


# The hub.


def test_the_hub_answers_the_real_client(hub: Hub, tmp_path: Path) -> None:
    folder = snapshot_download(REPO, revision="main", cache_dir=tmp_path, endpoint=hub.url)
    for path in ("config.json", SAFETENSORS, "onnx/model.safetensors"):
        assert (Path(folder) / path).read_bytes() == (hub.repos[REPO] / path).read_bytes()


def test_a_repository_is_read_as_the_real_client_reads_it(hub: Hub, tmp_path: Path) -> None:
    wanted = HuggingFace(repo=REPO, revision="main", files=("*",))
    ours = resolve(wanted, Place(tmp_path / "pyproject.toml"))
    theirs = HfApi(hub.url).model_info(REPO, revision="main", files_metadata=True)
    assert ours.origin["revision"] == theirs.sha == COMMIT
    assert {
        (file.path, file.size, file.sha256, file.digest and file.digest[1]) for file in ours.files
    } == {
        (
            file.rfilename,
            file.size,
            file.lfs.sha256 if file.lfs else None,
            None if file.lfs else file.blob_id,
        )
        for file in theirs.siblings or []
    }


def test_what_is_no_hub_is_said(hub: Hub, module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_model", lambda *_: Response("[]"))
    nothing_locked(module, f"{hub.url} does not answer like a hub")


def test_a_small_file_is_held_to_the_hash_that_the_hub_states(hub: Hub, module: Module) -> None:
    hub.fail("config.json", replies(200, b'{"hidden_size": 9}\n'))
    with pytest.raises(
        CmError, match="config.json from .* has git .* where the origin itself says"
    ):
        pull_into(module)


# Going on with what has arrived.


def test_a_file_that_changes_meanwhile_is_never_sewn_together(hub: Hub, plain: Module) -> None:
    newer = safetensors(3_000_000)

    def changed(_: Request, content: bytes) -> Response:
        (hub.repos["plain"] / SAFETENSORS).write_bytes(newer)
        return truncated(700_000, ETag='"older"')(_, content) or Response()

    hub.fail(SAFETENSORS, replies(), changed)
    pull_into(plain)
    assert (plain.folder / "models" / SAFETENSORS).read_bytes() == newer
    assert ranges(hub)[2:] == [("bytes=700000-", '"older"')]


@pytest.mark.parametrize("etag", ['"newer"', None])
def test_a_part_of_another_version_is_not_taken_though_the_origin_sends_it(
    hub: Hub, plain: Module, etag: str | None
) -> None:
    headers = {"Content_Range": "bytes 700000-2999999/3000000"} | ({"ETag": etag} if etag else {})
    hub.fail(
        SAFETENSORS,
        replies(),
        truncated(700_000, ETag='"older"'),
        replies(206, b"x" * 2_300_000, **headers),
    )
    pull_into(plain)
    whole = (hub.repos["plain"] / SAFETENSORS).read_bytes()
    assert (plain.folder / "models" / SAFETENSORS).read_bytes() == whole
    assert ranges(hub)[-1] == (None, None)


def test_without_a_version_a_file_begins_again(hub: Hub, plain: Module) -> None:
    hub.fail(SAFETENSORS, replies(), truncated(700_000))
    pull_into(plain)
    assert ranges(hub)[2:] == [(None, None)]


def test_a_date_tells_versions_apart_where_there_is_no_strong_tag(hub: Hub, plain: Module) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    hub.fail(SAFETENSORS, replies(), truncated(700_000, ETag='W/"weak"', Last_Modified=date))
    pull_into(plain)
    assert ranges(hub)[2] == ("bytes=700000-", date)


@pytest.mark.parametrize(
    "span", ["bytes 695904-2999999/3000000", "bytes 700001-2999999/3000000", "", "items 1-2/3"]
)
def test_a_part_that_begins_elsewhere_than_asked_for_is_not_taken(
    hub: Hub, plain: Module, span: str
) -> None:
    hub.fail(
        SAFETENSORS,
        replies(),
        truncated(700_000, ETag='"one"'),
        replies(206, b"x" * 2_304_096, Content_Range=span, ETag='"one"'),
    )
    pull_into(plain)
    whole = (hub.repos["plain"] / SAFETENSORS).read_bytes()
    assert (plain.folder / "models" / SAFETENSORS).read_bytes() == whole
    check(Project.read(plain.folder))


def test_a_replica_takes_no_part_that_begins_elsewhere(hub: Hub, tmp_path: Path) -> None:
    lock = lock_of(hub)
    wrong = replies(206, b"x" * 2_304_096, Content_Range="bytes 695904-2999999/3000000")
    hub.fail(SAFETENSORS, truncated(700_000), wrong)
    verify(fetch(lock, tmp_path), lock)


# What is not the file.


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (
            replies(200, gzip.compress(b"{}"), Content_Encoding="gzip"),
            " is sent compressed (gzip), though it was requested uncompressed",
        ),
        (
            replies(200, b"<form>", Content_Type="text/html; charset=utf-8"),
            " is a web page, not the file",
        ),
    ],
)
def test_an_answer_that_is_not_the_file_is_refused(
    hub: Hub, plain: Module, fault: Fault, problem: str
) -> None:
    hub.fail("config.json", fault)
    nothing_locked(plain, f"{hub.url}/plain/plain/config.json{problem}")


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        (SAFETENSORS, b"", "is empty"),
        (SAFETENSORS, POINTER, "is a pointer of Git LFS, not the file"),
        (SAFETENSORS, b"\n <!DOCTYPE html><title>Sign in", "is a web page, not the file"),
        ("config.json", b"<HTML>", "is a web page, not the file"),
        (SAFETENSORS, b"A" * 1000, "does not begin as a .safetensors file does"),
        (SAFETENSORS, safetensors(1000)[:90], "does not begin as a .safetensors file does"),
        ("config.json", b"PK\x03\x04", "does not begin as a .json file does"),
    ],
)
def test_a_file_that_cannot_be_weights_is_not_locked(
    hub: Hub, plain: Module, name: str, body: bytes, problem: str
) -> None:
    hub.fail(name, replies(200, body), replies(200, body))
    nothing_locked(plain, f"{name} from {hub.url}/plain/plain/ {problem}")


GOOD = {
    "a.gguf": b"GGUF\x03",
    "a.h5": b"\x89HDF\r\n\x1a\n",
    "a.keras": b"PK\x03\x04",
    "a.npz": b"PK\x03\x04",
    "a.PT": b"PK\x03\x04",
    "a.pth": b"\x80\x02}q",
    "a.tflite": b"\x1c\0\0\0TFL3",
    "a.json": b"\xef\xbb\xbf\n [1]",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_file_begins_as_its_suffix_says(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(GOOD[name])
    check_content(name, path, "there")
    path.write_bytes(b"\x1f\x8bsomething else")
    with pytest.raises(WeightsError) as refused:
        check_content(name, path, "there")
    suffix = Path(name.lower()).suffix
    assert refused.value.what == f"{name} from there does not begin as a {suffix} file does"


@pytest.mark.parametrize(
    "header",
    [
        {"X_Checksum_Sha256": "0" * 64},
        {"Repr_Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"},
        {"Digest": f"SHA-256={base64.b64encode(bytes(32)).decode()}"},
        {"Content_MD5": base64.b64encode(bytes(16)).decode()},
        {"X_Goog_Hash": f"crc32c=n03x6A==, md5={base64.b64encode(bytes(16)).decode()}"},
    ],
)
def test_a_hash_that_the_origin_states_has_to_be_right(
    hub: Hub, plain: Module, header: dict[str, str]
) -> None:
    wrong = replies(200, None, **header)
    hub.fail("config.json", wrong, wrong)
    with pytest.raises(CmError, match=r"config.json from .* where the origin itself says 00000"):
        pull_into(plain)
    assert not (plain.folder / "weights.lock").exists()


def test_a_hash_that_the_origin_states_rightly_is_no_hindrance(hub: Hub, plain: Module) -> None:
    digest = hashlib.sha256((hub.repos["plain"] / "config.json").read_bytes()).digest()
    stated = replies(Repr_Digest=f"sha-256=:{base64.b64encode(digest).decode()}:")
    hub.fail("config.json", stated, stated)
    pull_into(plain)


def test_another_size_than_the_locks_is_said_before_it_is_fetched(hub: Hub, plain: Module) -> None:
    pull_into(plain)
    (plain.folder / "models" / SAFETENSORS).unlink()
    (hub.repos["plain"] / SAFETENSORS).write_bytes(safetensors(2_000_000))
    with pytest.raises(CmError) as refused:
        pull_into(plain)
    assert refused.value.what == (
        f"{SAFETENSORS} from {hub.url}/plain/plain/ has 2000000 bytes, not 3000000"
    )
    assert refused.value.fix == "If the change is intended, run `cm weights pull --update`."


def test_more_bytes_than_announced_are_not_taken(hub: Hub, plain: Module) -> None:
    pull_into(plain)
    (plain.folder / "models/config.json").unlink()

    def longer(*_: object) -> Response:  # in chunks, without a length
        return Response(iter([b'{"hidden_size": 3}\n more']))

    hub.fail("config.json", *3 * [longer])
    with pytest.raises(CmError) as refused:
        pull_into(plain)
    assert refused.value.what.startswith("config.json has more than the 19 bytes announced")


# Slow.


def test_a_byte_now_and_then_is_not_waited_for_without_a_word(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STALL_SECONDS", 0.5)
    hub.fail(SAFETENSORS, *3 * [dribbled])
    with pytest.raises(WeightsError) as refused:
        fetch(lock_of(hub), tmp_path)
    said = r"model.safetensors comes at \d+ bytes a second, 8 times in a row; try again in a while"
    assert re.fullmatch(said, str(refused.value))


# Formats that run code.


@pytest.mark.parametrize(
    "name",
    ["a.PT", "a.pth.tar", "a.dill", "a.h5", "a.keras", "a.Ckpt", "a.bin", "a.joblib", "a/b.pkl"],
)
def test_a_name_tells_that_loading_can_run_code(name: str) -> None:
    assert runs_code(name)


def test_what_a_file_holds_tells_it_too(tmp_path: Path) -> None:
    file = tmp_path / "model.weights"
    file.write_bytes(b"\x80\x04\x95")
    assert runs_code("model.weights", file)
    shutil.make_archive(str(tmp_path / "zipped"), "zip", _with_pickle(tmp_path / "inner"))
    assert runs_code("zipped.weights", tmp_path / "zipped.zip")
    file.write_bytes(safetensors(500))
    assert not runs_code("model.weights", file)


def _with_pickle(folder: Path) -> Path:
    (folder / "archive").mkdir(parents=True)
    (folder / "archive/data.pkl").write_bytes(b"x")
    return folder
