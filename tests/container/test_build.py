"""`cm build` and the engines: real images with buildah, command lines of docker and podman."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.errors import CmError
from foundry_cm.image.build import Report, build
from foundry_cm.image.engines import Buildah, Engine, Podman, Secret, find_engine
from foundry_cm.image.image import Image, Layer, check_tag
from foundry_cm.image.rules import broken_rules
from foundry_cm.module.project import Project

needs_containers = pytest.mark.usefixtures("containers")
GOOD = """\
FROM --platform=linux/amd64 python:3.13-slim
WORKDIR /app
RUN useradd --uid 5000 --create-home module
COPY src .
USER 5000
ENTRYPOINT ["python", "app.py"]
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/app.py").write_text("print('started')\n")
    (tmp_path / "Dockerfile").write_text(GOOD)
    return tmp_path


def make(module: Path, dockerfile: str = GOOD, tag: str = "1", **options: object) -> Report:
    (module / "Dockerfile").write_text(dockerfile)
    ref = f"localhost/cm-test-{module.name.replace('_', '-')}-{os.getpid()}:{tag}"
    return build(module, ref, Buildah(), **options)  # type: ignore[arg-type]


@pytest.fixture
def fake_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A program in front of the path that only answers what a test gives it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def install(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return install


@pytest.mark.container
@needs_containers
def test_a_good_image_breaks_no_rule_and_lists_its_layers(module: Path) -> None:
    report = make(module)
    assert report.findings == ()
    image = report.image
    assert (image.os, image.architecture, image.user) == ("linux", "amd64", "5000")
    assert image.command == ("python", "app.py")
    assert [layer.instruction for layer in image.layers] == [
        "debootstrap trixie",
        "RUN useradd --uid 5000 --create-home module",
        "COPY to .",
    ]
    assert image.size == sum(layer.size for layer in image.layers) > 100_000_000


@pytest.mark.container
@needs_containers
def test_a_change_of_code_rebuilds_only_the_code_layer(
    module: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make(module)
    capfd.readouterr()
    never_built_before = f"print({time.time()})\n"
    (module / "src/app.py").write_text(never_built_before)
    make(module, tag="2")
    steps = capfd.readouterr().err.split("STEP ")[1:]
    cached = {step.split(": ")[1].split()[0]: "Using cache" in step for step in steps}
    assert cached["RUN"]
    assert not cached["COPY"]


@pytest.mark.container
@needs_containers
def test_an_image_without_a_user_runs_as_root(module: Path) -> None:
    (finding,) = make(module, GOOD.replace("USER 5000\n", "")).findings
    assert finding.what == "no USER is set: it runs as root"


@pytest.mark.container
@needs_containers
def test_an_image_without_a_shell_gives_no_logs(module: Path) -> None:
    (finding,) = make(module, "FROM scratch\nCOPY src .\nUSER 5000\nCMD ['x']\n").findings
    assert finding.what == "/bin/sh does not run in the image"


@pytest.mark.container
@needs_containers
def test_an_image_without_tee_gives_no_logs(module: Path) -> None:
    (finding,) = make(module, GOOD.replace("COPY", "RUN rm /usr/bin/tee\nCOPY")).findings
    assert finding.what == "tee is not in the image"


@pytest.mark.container
@needs_containers
def test_code_that_the_user_of_the_image_cannot_read_is_found(module: Path) -> None:
    (module / "src/app.py").chmod(0o600)
    (finding,) = make(module).findings
    assert finding.what == "app.py cannot be read by the image's user, 5000"


@pytest.mark.container
@needs_containers
def test_an_image_over_its_budget_fails_and_names_its_largest_layer(module: Path) -> None:
    report = make(module, budget=1_000_000)
    with pytest.raises(CmError, match="over its budget") as failure:
        report.check()
    assert failure.value.where == "image-budget-mb = 1 in pyproject.toml"
    assert "The largest layer is debootstrap trixie" in (failure.value.fix or "")


@pytest.mark.container
@needs_containers
def test_a_build_secret_reaches_the_build_and_no_layer(
    module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "canary-index-token")
    use = "RUN --mount=type=secret,id=index grep -q canary-index /run/secrets/index\nCOPY"
    report = make(
        module, GOOD.replace("COPY", use), secrets=[Secret.parse("id=index,env=INDEX_TOKEN")]
    )
    folder = tmp_path_factory.mktemp("layers")
    command = [
        "buildah",
        "push",
        "--quiet",
        "--disable-compression",
        report.image.ref,
        f"dir:{folder}",
    ]
    subprocess.run(command, check=True)
    assert all(b"canary-index-token" not in path.read_bytes() for path in folder.iterdir())


@pytest.mark.container
@needs_containers
def test_a_container_runs_as_its_user_with_environment_and_mounts(
    module: Path, tmp_path: Path
) -> None:
    image = make(module).image
    given = tmp_path / "given"
    given.mkdir()
    given.chmod(0o777)
    (given / "token").write_text("from the mount")
    script = 'id -u; echo "$CANARY"; cat /given/token; echo x > /given/new'
    container = Buildah().container(
        image,
        f"cm-test-{os.getpid()}",
        command=("/bin/sh", "-c", script),
        env={"CANARY": "canary-value"},
        mounts={given: "/given"},
    )
    for command in container.before:
        command.run()
    try:
        with pytest.raises(CmError) as failure:
            container.run.output()
        assert "Read-only file system" in (failure.value.details or "")
        done = subprocess.run(
            container.run.argv,
            env={**os.environ, **container.run.env},
            capture_output=True,
            text=True,
        )
        assert done.stdout.split("\n") == ["5000", "canary-value", "from the mount"]
    finally:
        for command in container.after:
            command.run()


def test_no_dockerfile_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(CmError, match="there is no Dockerfile") as failure:
        build(tmp_path, "m:1", Buildah())
    assert failure.value.exit_code == 2


@pytest.mark.container
@needs_containers
def test_an_unknown_image_names_the_command_that_makes_it() -> None:
    with pytest.raises(CmError, match="buildah has no image localhost/cm-test-absent:1") as failure:
        Buildah().inspect("localhost/cm-test-absent:1")
    assert failure.value.fix == "cm build makes it, and prints its name."


def broken(monkeypatch: pytest.MonkeyPatch, ref: str = "m:1", **config: Any) -> list[str]:
    """What is wrong with the configuration of an image that is otherwise good."""
    monkeypatch.setattr("foundry_cm.image.rules._tools", lambda image, engine: [])
    good: dict[str, Any] = {"User": "5000", "Cmd": ["python"], **config}
    top = {"os": "linux", "architecture": config.get("architecture", "amd64"), "config": good}
    layers = [Layer("COPY models", config.get("layer", 1))]
    return [
        error.what for error in broken_rules(Image.from_config(ref, "id", top, layers), Buildah())
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"User": ""}, "no USER is set: it runs as root"),
        ({"User": "module"}, 'USER is "module", a name'),
        ({"User": "0"}, "USER is 0, root"),
        ({"User": "0:5000"}, "USER is 0, root"),
        ({"Cmd": []}, "no ENTRYPOINT or CMD"),
        ({"ExposedPorts": {"8945/tcp": {}}}, "port 8945 is exposed, which Foundry's runtime uses"),
        ({"ExposedPorts": {"80": {}}}, "port 80 is exposed"),
        ({"Env": ["API_TOKEN=x"]}, "the image carries the variable API_TOKEN"),
        ({"architecture": "arm64"}, "the image is for linux/arm64"),
        ({"layer": 11_000_000_000}, "a layer has 11,000.0 MB: COPY models"),
    ],
)
def test_what_foundry_refuses_is_found(
    config: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken(monkeypatch, **config) == [message]


def test_what_foundry_takes_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    ports: dict[str, Any] = {"1024/tcp": {}, "8080/tcp": {}, "65535/udp": {}}
    assert broken(monkeypatch, User="5001:5001", ExposedPorts=ports, Env=["GPG_KEY=1"]) == []


@pytest.mark.parametrize("ref", ["m", "m:latest", "localhost:5000/m"])
def test_a_reference_without_a_version_is_found(ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken(monkeypatch, ref) == ["the tag is latest"]


def test_the_tag_latest_is_refused() -> None:
    with pytest.raises(CmError, match="Foundry does not run an image tagged latest"):
        check_tag("latest")


def shown(engine: Engine, folder: Path) -> list[str]:
    image = Image.from_config("m:1", "id", {"config": {"Entrypoint": ["python", "app.py"]}}, [])
    secret = Secret.parse("id=index,env=INDEX_TOKEN")
    container = engine.container(image, "c1", env={"A": "canary-value"}, mounts={Path("/x"): "/y"})
    return [
        engine.build(Path(), "h/m:1", secrets=[secret], extra=("--pull",)).shown(),
        engine.login("h", "rid", "TOKEN", folder).shown(),
        engine.push("h/m:1", Path("digest"), folder).shown(),
        *(command.shown() for command in (*container.before, container.run, *container.after)),
    ]


def test_docker_command_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_engine: Callable[[str, str], None]
) -> None:
    fake_engine("docker", "exit 0")
    monkeypatch.setattr("sys.platform", "linux")
    assert shown(Engine(), tmp_path) == [
        "docker buildx build --load --provenance=false --platform linux/amd64 --tag h/m:1"
        " --secret id=index,env=INDEX_TOKEN --pull .",
        "printf '%s' \"$TOKEN\" | docker login --username rid --password-stdin h",
        "docker push h/m:1",
        "docker run --rm --name c1 --pull never --platform linux/amd64 --network host --env A"
        " --volume /x:/y:ro,z m:1",
        "docker rm --force --volumes c1",
    ]


def test_podman_command_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert shown(Podman(), tmp_path) == [
        "podman build --layers --format docker --platform linux/amd64 --tag h/m:1"
        " --secret id=index,type=env,src=INDEX_TOKEN --pull .",
        "printf '%s' \"$TOKEN\" | podman login --username rid --password-stdin h",
        "podman push --digestfile digest h/m:1",
        "podman run --rm --name c1 --pull never --platform linux/amd64 --network host --env A"
        " --volume /x:/y:ro,z m:1",
        "podman rm --force --volumes c1",
    ]


@pytest.mark.parametrize("engine", [Engine(), Podman()], ids=lambda engine: engine.name)
def test_root_is_read_only_but_for_volumes_that_begin_with_what_is_there(engine: Engine) -> None:
    image = Image("m:1", "", "", "", "", (), (), {}, ())
    run = engine.container(image, "c1", writable=["/home/module", "/tmp"]).run.shown()
    assert " --read-only --volume /home/module --volume /tmp m:1" in run


def test_docker_keeps_the_login_out_of_the_users_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".docker/contexts").mkdir(parents=True)
    (home / ".docker/config.json").write_text('{"auths": {"h": {}}, "currentContext": "colima"}')
    monkeypatch.setenv("HOME", str(home))
    auth = tmp_path / "auth"
    auth.mkdir()
    Engine().prepare(auth)
    assert Engine().login("h", "rid", "TOKEN", auth).env == {"DOCKER_CONFIG": str(auth)}
    assert (auth / "config.json").read_text() == '{"currentContext": "colima"}'
    assert (auth / "contexts").resolve() == home / ".docker/contexts"


def test_the_first_engine_that_answers_is_used(
    monkeypatch: pytest.MonkeyPatch, fake_engine: Callable[[str, str], None]
) -> None:
    fake_engine("docker", "echo 'Is the docker daemon running?' >&2; exit 1")
    fake_engine("podman", "echo 5.4.0")
    assert find_engine().name == "podman"


def test_no_engine_says_why_for_each(fake_engine: Callable[[str, str], None]) -> None:
    fake_engine("docker", "echo 'Is the docker daemon running?' >&2; exit 1")
    fake_engine("podman", "exit 1")
    fake_engine("buildah", "echo 'no subuid' >&2; exit 1")
    with pytest.raises(CmError) as failure:
        find_engine()
    assert failure.value.what == (
        "no container engine answers: docker: docker version failed: Is the docker daemon running?;"
        " podman: podman info failed: it gave no reason; buildah: buildah info failed: no subuid"
    )


def test_an_unknown_engine_is_corrected() -> None:
    with pytest.raises(CmError, match='"dokcer" is not a container engine') as failure:
        find_engine("dokcer")
    assert failure.value.fix == 'Did you mean "docker"?'


def test_docker_history_gives_layers_base_first(
    tmp_path: Path, fake_engine: Callable[[str, str], None]
) -> None:
    """The shapes are those that docker 28 prints."""
    rows = [
        {"CreatedBy": 'ENTRYPOINT ["python"]', "Size": "0"},
        {"CreatedBy": "COPY src . # buildkit", "Size": "2100"},
        {"CreatedBy": "RUN /bin/sh -c pip install x # buildkit", "Size": "3700000"},
    ]
    config = {"User": "5000", "Entrypoint": ["python"], "Cmd": None, "Env": ["A=b=c"]}
    top = {"Id": "sha256:1", "Os": "linux", "Architecture": "amd64", "Config": config}
    (tmp_path / "history").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "inspect").write_text(json.dumps([top]))
    fake_engine("docker", f"[ $1 = history ] && cat {tmp_path}/history || cat {tmp_path}/inspect")
    image = Engine().inspect("m:1")
    assert [(layer.instruction, layer.size) for layer in image.layers] == [
        ("RUN pip install x", 3_700_000),
        ("COPY src .", 2_100),
    ]
    assert (image.command, image.env) == (("python",), {"A": "b=c"})


@pytest.mark.parametrize(
    "text", ["index", "id=index", "id=,env=X", "id=x,env=A,src=b", "id=x,foo=y"]
)
def test_a_wrong_secret_is_explained(text: str) -> None:
    with pytest.raises(CmError) as failure:
        Secret.parse(text)
    assert failure.value.fix == "Write id=NAME,env=VARIABLE or id=NAME,src=FILE."


def test_settings_come_from_pyproject(tmp_path: Path) -> None:
    text = '[tool.foundry-cm]\nimage = "parts"\nimage-budget-mb = 300\nenrollment-host = "a.b"\n'
    (tmp_path / "pyproject.toml").write_text(text)
    project = Project.read(tmp_path)
    assert (project.image, project.image_budget, project.enrollment_host) == (
        "parts",
        300_000_000,
        "a.b",
    )


def test_a_module_without_settings_is_named_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "My Module!"
    folder.mkdir()
    project = Project.read(folder)
    assert (project.image, project.image_budget, project.enrollment_host) == ("my-module", None, "")
