"""The images of the model examples: built by `cm build`, run as their own user, answering.

Debian's PyTorch stands in for the wheels: it lies in the base image, where pip finds it installed.
"""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundry_cm.image.build import Report, build
from foundry_cm.image.engines import Buildah
from foundry_cm.image.launch import launcher
from foundry_cm.local.function.foundry import LocalFoundry, Settings
from foundry_cm.testing import _Log
from tests.conftest import Render
from tests.containers import buildah
from tests.models import debian_torch
from tests.models.conftest import pull_weights
from tests.models.hub import Hub
from tests.models.shapes import draw, inline

pytestmark = [pytest.mark.container, pytest.mark.slow]

# A version of Python that no other test builds on, so that its base can hold PyTorch.
PYTHON = "3.12"
BASES = [f"docker.io/library/python:{PYTHON}-slim", f"docker.io/library/python:{PYTHON}"]


@pytest.fixture(scope="session")
def torch_base(containers: None) -> None:
    """The base images of the model examples, with PyTorch in them."""
    known = buildah("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}").split()
    if all(name in known for name in BASES):
        return
    container = buildah("from", "scratch")
    mounted = buildah("mount", container)
    debian_torch.copy_system(Path(mounted))
    buildah("umount", container)
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    buildah("config", "--cmd", "python3", "--env", path, container)
    buildah("config", "--created-by", "debootstrap trixie with torch", container)
    buildah("commit", "--quiet", "--rm", container, BASES[0])
    buildah("tag", *BASES)


Make = Callable[[str, str, bool], Path]


@pytest.fixture(scope="session")
def make(render: Render, started_hub: Hub, minilm: Path) -> Make:
    """Render a module whose weights come from the hub, and pull them."""

    def module(example: str, strategy: str, multi_stage: bool) -> Path:
        answers: dict[str, Any] = {"weights_origin": "https", "weights_files": ["shapes.pt"]}
        if example == "yolo":
            started_hub.repos["shapes"] = debian_torch.trained_detector().parent
            answers["weights_url"] = f"{started_hub.url}/plain/shapes/"
        else:
            started_hub.repos["sentence-transformers/all-MiniLM-L6-v2"] = minilm
            # PyTorch is in the base; the other image gets its engine from an index.
            answers = {"engine": "sentence-transformers" if strategy == "baked" else "onnx"}
        folder = render(
            example=example,
            module_name=f"{example}-{strategy}",
            weights_strategy=strategy,
            multi_stage=multi_stage,
            python_version=PYTHON,
            **answers,
        )
        pull_weights(folder)
        return folder

    return module


def call_image(
    report: Report, hub: Hub, readable: Path, function: str, event: Any
) -> tuple[Any, str]:
    """The answer of an image and its log; the hub's certificate lies in `readable` for it."""

    async def run() -> Any:
        settings = Settings(
            command=["buildah"],
            folder=Path(),
            timeout_seconds=120,
            restart=False,
            launch=launcher(Buildah(), report.image, readable),
            env={"REQUESTS_CA_BUNDLE": str(readable / "ca.pem"), "HF_ENDPOINT": hub.url},
        )
        async with LocalFoundry(settings, log) as foundry:
            await foundry.ready()
            return (await foundry.call(function, event)).value

    log = _Log()
    return asyncio.run(run()), "\n".join(log.lines)


@pytest.mark.parametrize(
    ("example", "strategy", "multi_stage"),
    [
        ("embedding", "baked", False),
        ("embedding", "downloaded", True),
        ("yolo", "baked", True),
        ("yolo", "downloaded", False),
    ],
)
def test_image_answers_as_its_own_user_and_a_change_of_code_rebuilds_only_code(
    torch_base: None,
    make: Make,
    hub: Hub,
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
    example: str,
    strategy: str,
    multi_stage: bool,
) -> None:
    folder = make(example, strategy, multi_stage)
    report = build(folder, f"localhost/cm-test-{folder.name}:1", Buildah())
    assert [finding.what for finding in report.findings] == []
    assert report.image.user == "5000"
    instructions = [layer.instruction for layer in report.image.layers]
    assert any("models" in step for step in instructions) == (strategy == "baked")

    readable = Path("/var/tmp") / tmp_path_factory.mktemp("ca").parent.name / folder.name
    readable.mkdir(parents=True)
    shutil.copy(hub.ca, readable / "ca.pem")
    readable.chmod(0o755)
    function = "embed" if example == "embedding" else "detect"
    event = json.loads((folder / "events" / f"{function}.json").read_text())
    if example == "yolo":
        event["images"] = [inline(draw(seed)[0]) for seed in range(1000, 1004)]
    try:
        answer, log = call_image(report, hub, readable, function, event)
    finally:
        shutil.rmtree(readable.parent)
    if example == "embedding":
        assert answer["dimension"] == 384
        assert len(answer["embeddings"]) == 3
    else:
        assert {item["label"] for image in answer for item in image["detections"]} == {
            "square",
            "circle",
        }
    assert ("verified, in /home/module/.cache/weights" in log) == (strategy == "downloaded")

    if strategy == "baked":
        app = folder / "src/app.py"
        app.write_text(app.read_text() + "\n# A change of code.\n")
        capfd.readouterr()
        build(folder, f"localhost/cm-test-{folder.name}:2", Buildah())
        steps = capfd.readouterr().err.split("STEP ")[1:]
        made_again = [
            step
            for step in steps
            if step.split()[1] in ("RUN", "COPY") and "Using cache" not in step
        ]
        assert [step.split(": ", 1)[1].split("\n")[0] for step in made_again] == [
            "COPY --chmod=0755 src ."
        ]
    for tag in ("1", "2"):
        subprocess.run(["buildah", "rmi", f"localhost/cm-test-{folder.name}:{tag}"], check=False)
