"""weights.lock: what it may say, and what a file of weights may be called."""

import hashlib
import json
from pathlib import Path

import pytest

from foundry_cm.weights.lock import (
    Lock,
    WeightFile,
    WeightsError,
    paths_problem,
    read_lock,
    url_problem,
    verify,
)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "./a"])
def test_a_lock_cannot_name_a_file_outside_the_folder(tmp_path: Path, path: str) -> None:
    lock = tmp_path / "weights.lock"
    files = [{"path": path, "size": 1, "sha256": "0" * 64}]
    lock.write_text(json.dumps({"version": 1, "origin": {}, "files": files}))
    with pytest.raises(WeightsError, match="does not stay inside the folder"):
        read_lock(lock)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "weights.lock is missing; write it with `cm weights pull`"),
        ("{", "weights.lock cannot be read (Expecting"),
        ('{"version": 2}', "weights.lock cannot be read (version 2 is not 1)"),
        ('{"version": 1, "origin": {}, "files": []}', "(it lists no files); write it again"),
        ("[]", "weights.lock cannot be read ("),
    ],
)
def test_a_damaged_lock_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "weights.lock").write_text(text)
    with pytest.raises(WeightsError) as refused:
        read_lock(tmp_path / "weights.lock")
    assert message in str(refused.value)


OUTSIDE = "does not stay inside the folder"
LITTER = "begins with a dot or ends in .part, as files do that are not weights"
UNUSABLE = "is no name of a file on every system"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("../x", OUTSIDE),
        ("a/../../x", OUTSIDE),
        ("/etc/x", OUTSIDE),
        ("a//b", OUTSIDE),
        ("a/", OUTSIDE),
        ("./a", OUTSIDE),
        ("", OUTSIDE),
        ("a\\b", OUTSIDE),
        ("C:x", OUTSIDE),
        ("a\0b", "has a character that cannot be printed"),
        ("a\x1b[2Jb", "has a character that cannot be printed"),
        ("a\nb", "has a character that cannot be printed"),
        ("a\u202eb", "has a character that cannot be printed"),
        (".partial/x", LITTER),
        ("a/.git", LITTER),
        ("x.PART", LITTER),
        ("nul", UNUSABLE),
        ("a/COM1.bin", UNUSABLE),
        ("a. ", UNUSABLE),
        ("a" * 241, UNUSABLE),
    ],
)
def test_a_name_that_is_not_one_file_below_the_folder_on_every_system_is_refused(
    path: str, problem: str
) -> None:
    assert paths_problem([path]) == f"the path {path!r} {problem}"


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        (["a", "a"], "'a' is there twice"),
        (
            ["Config.json", "config.json"],
            "'Config.json' and 'config.json' are one name on some systems",
        ),
        (["A/x", "a/y"], "'A' and 'a' are one name on some systems"),
        (["\u00e9", "e\u0301"], "'\u00e9' and 'e\u0301' are one name on some systems"),
        (["a", "a/b"], "'a' is a file and a folder at once"),
        (["a/b/c", "a/b"], "'a/b' is a file and a folder at once"),
    ],
)
def test_names_that_cannot_lie_beside_each_other_are_refused(
    paths: list[str], problem: str
) -> None:
    assert paths_problem(paths) == problem


def test_ordinary_names_are_taken() -> None:
    assert (
        paths_problem(["config.json", "1_Pooling/config.json", "1_Pooling/a b.txt", "é.bin"])
        is None
    )


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://a.example/", "is not an https address"),
        ("https:.evil.example/x", "is not an https address"),
        ("https://a.example:port/", "is not an https address"),
        ("https://user:secret@a.example/", "holds a user name or a password"),
        ("https://hub.example@evil.example/", "holds a user name or a password"),
        ("https://a.example/?token=secret", "has more in it than a host and a path"),
        ("https://a.example/#x", "has more in it than a host and a path"),
        ("https://a.example/a\\b", "has more in it than a host and a path"),
        ("https://a.example/\x1b[2J", "has more in it than a host and a path"),
    ],
)
def test_an_address_is_a_host_and_a_path(tmp_path: Path, url: str, problem: str) -> None:
    assert url_problem(url) == problem
    files = [{"path": "a", "size": 1, "sha256": "0" * 64}]
    content = {"version": 1, "origin": {"kind": "https", "url": url}, "files": files}
    (tmp_path / "weights.lock").write_text(json.dumps(content))
    with pytest.raises(WeightsError) as refused:
        read_lock(tmp_path / "weights.lock")
    assert refused.value.what == f"weights.lock cannot be read (the url of its origin {problem})"


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "onnx/._x", ".git/x"])
def test_what_a_desktop_leaves_in_the_folder_stops_nothing(tmp_path: Path, name: str) -> None:
    lock = Lock({}, (WeightFile("a", 1, hashlib.sha256(b"a").hexdigest()),))
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    verify(tmp_path, lock)


def test_a_linked_folder_among_the_files_is_a_stray(tmp_path: Path) -> None:
    lock = Lock({}, (WeightFile("a", 1, hashlib.sha256(b"a").hexdigest()),))
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "more").symlink_to("/")
    with pytest.raises(WeightsError) as refused:
        verify(tmp_path, lock)
    assert str(refused.value) == (
        f"{tmp_path.name}/more is not in weights.lock; "
        "move it elsewhere: it could be loaded in place of a file that is"
    )
    assert refused.value.where == str(tmp_path / "more")
