"""Requirements: builds of a library that do not fit the image."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from foundry_cm.checks.container import containers, shell_text
from foundry_cm.checks.distributions import closure
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.requirements import is_lock, requirements
from foundry_cm.checks.rules.requirements import (
    APP,
    CONDA,
    DOCKERFILE,
    SDK_RANGE,
    asking,
    conda,
    installing,
    project,
)

_OPENCV = ("opencv-python", "opencv-contrib-python")
_GL = re.compile(
    r"libgl1|libgl1-mesa|mesa-libGL|libGL|mesa-gl|libopencv|python3-opencv", re.IGNORECASE
)
_TORCH = ("torch", "torchvision", "torchaudio")

CV = "import cv2\n" + APP


@check(
    "CM304",
    "opencv-in-slim",
    bad=(
        Bad("requirements.txt:2", asking(SDK_RANGE, "opencv-python>=4", app=CV, Dockerfile=DOCKERFILE)),
        Bad("requirements.txt:2", asking(SDK_RANGE, "ultralytics>=8,<9", app=CV, Dockerfile=DOCKERFILE)),
        Bad(
            "requirements.txt:2",
            asking(
                SDK_RANGE,
                "opencv-contrib-python",
                app=CV,
                Dockerfile="FROM python:3.12 AS b\n" + DOCKERFILE.replace("3.12-slim", "3.12-slim-trixie"),
            ),
        ),
    ),
    good=(
        asking(SDK_RANGE, "opencv-python-headless", app=CV, Dockerfile=DOCKERFILE),
        asking(SDK_RANGE, "ultralytics-opencv-headless>=8,<9", app=CV, Dockerfile=DOCKERFILE),
        asking(SDK_RANGE, "opencv-python", app=CV, Dockerfile=DOCKERFILE.replace("-slim", "")),
        asking(
            SDK_RANGE,
            "opencv-python",
            app=CV,
            Dockerfile=DOCKERFILE.replace("COPY r", "RUN apt-get install -y libgl1\nCOPY r"),
        ),
    ),
)  # fmt: skip
def opencv_in_slim(module: Module) -> Iterator[Finding]:
    """`opencv-python` in a slim image.

    It needs libGL, the library of a display, which a slim image has not: `import cv2` fails. The
    headless build is the same without windows. `ultralytics` asks for the one with windows.
    """
    found = requirements(module)
    for container in containers(module) if found else ():
        base = container.last.root.base
        texts = [
            shell_text(s.instruction) for s in container.last.steps if s.instruction.name == "RUN"
        ]
        if not re.search(r"slim|alpine|minimal", base) or any(map(_GL.search, texts)):
            continue
        for one in found.asked if found else ():
            brought = closure([(one.name, one.extras)])[0].intersection(_OPENCV)
            if brought and not is_lock(one.path):
                name = sorted(brought)[0]
                mend = (
                    "ultralytics-opencv-headless, the same library by the same name"
                    if one.name == "ultralytics"
                    else f"{name}-headless"
                )
                what = one.name if one.name == name else f"{one.name} installs {name}, which"
                yield Finding(
                    f"{what} needs libGL, which {base} has not",
                    one.path,
                    f"Ask for {mend}.",
                    one.line,
                )


@check(
    "CM305",
    "torch-build",
    severity=Severity.WARNING,
    bad=(
        Bad("requirements.txt:2", asking(SDK_RANGE, "torch>=2.6", app="import torch\n")),
        Bad("requirements.txt:2", asking(SDK_RANGE, "sentence-transformers", app="import torch\n")),
        Bad(
            "requirements.txt:2",
            asking(
                "--index-url https://download.pytorch.org/whl/cu126", "torch", app="import torch\n"
            ),
        ),
        Bad(
            "requirements.txt:2",
            asking("-r all.lock", "torch", app="import torch\n", **{"all.lock": "torch==2.9.0\n"}),
        ),
        Bad(
            "requirements.txt:2",
            asking(
                "--index-url https://download.pytorch.org/whl/cpu",
                "torch",
                app='import torch\nMODEL = torch.load("m").to("cuda")\n',
            ),
        ),
        Bad(
            "requirements.txt:1",
            asking(
                "torch==2.6.0+cpu", app="import torch\n", **{".copier-answers.yml": "gpu: t4\n"}
            ),
        ),
        Bad(
            "requirements.txt:1",
            asking(
                "torch",
                app='import torch\nD = "cuda" if torch.cuda.is_available() else "cpu"\n',
                **{".copier-answers.yml": "gpu: none\n"},
            ),
        ),
    ),
    good=(
        asking("--index-url https://download.pytorch.org/whl/cpu", "torch", app="import torch\n"),
        asking("torch==2.6.0+cpu", "sentence-transformers", app="import torch\n"),
        asking(
            "sentence-transformers",
            app="import torch\n",
            Dockerfile=DOCKERFILE.replace(
                "RUN pip install -r requirements.txt",
                "RUN if [ -f a.lock ]; then set -- -r a.lock; else set -- -r torch.txt; fi; "
                'pip install "$@"\nRUN pip install -r requirements.txt',
            ),
            **{"torch.txt": "--index-url https://download.pytorch.org/whl/cpu\ntorch>=2.6,<3\n"},
        ),
        asking("torch", app='import torch\nMODEL = torch.load("m").cuda()\n'),
        asking(
            "--index-url https://download.pytorch.org/whl/cpu",
            "torch",
            app='import torch\nMODEL = torch.load("m")\n',
        ),
        {"src/app.py": "import torch\n"},
        installing(
            "uv sync",
            "import torch\n",
            pyproject__toml=project(
                "torch",
                more='[[tool.uv.index]]\nurl = "https://download.pytorch.org/whl/cpu"\n',
            ),
        ),
        installing(
            "conda env create",
            "import torch\n",
            CONDA,
            environment__yml=conda("pytorch", "torchvision"),
        ),
        asking("torch", app='import torch\nMODEL = torch.load("m").to("cuda")\n'),
        asking("torch", app="import torch\nGPU = torch.cuda.is_available()\n"),
        asking("torch", app="import torch\n", Dockerfile="FROM nvidia/cuda:13.0-base\n"),
        asking(
            "--extra-index-url https://download.pytorch.org/whl/cpu",
            "torch",
            app='import torch\nD = "cuda" if torch.cuda.is_available() else "cpu"\n',
        ),
        asking(
            "torch",
            app="import torch\n",
            Dockerfile=DOCKERFILE.replace(
                "install", "install --index-url https://a.b/whl/cpu torch &&"
            ),
        ),
    ),
)
def torch_build(module: Module) -> Iterator[Finding]:
    """PyTorch for CUDA in a module without a GPU, or the build for the CPU in one that wants a GPU.

    The build on PyPI brings several GB of CUDA along, which make each start slower. The build for
    the CPU never finds the card that is paid for.
    """
    found = requirements(module)
    if not found or not found.installed & {*_TORCH}:
        return
    if any(one.beside for one in found.of(*_TORCH)):
        return  # conda takes the build that fits the machine
    asked = [one for one in found.of(*_TORCH) if not is_lock(one.path)] or [
        one for one in found.asked if closure([(one.name, one.extras)])[0] & {*_TORCH}
    ]
    one = asked[0]
    is_cpu = any(re.search(r"/cpu/?$", index.url) for index in found.indexes) or any(
        "+cpu" in str(torch.specifier) for torch in found.of(*_TORCH)
    )
    gpu = str(module.answers["gpu"]) if "gpu" in module.answers else None
    wants, adapts = _uses_cuda(module)
    if is_cpu and (gpu not in (None, "none") or (gpu is None and wants and not adapts)):
        yield Finding(
            "PyTorch is the build for the CPU, and the module wants a GPU",
            one.path,
            "Take the index of the GPU's builds, such as https://download.pytorch.org/whl/cu126.",
            one.line,
            Severity.ERROR,
        )
    elif not is_cpu and (gpu == "none" or (gpu is None and not wants and not adapts)):
        yield Finding(
            f"{one.name} installs PyTorch with several GB of CUDA, and the module uses no GPU",
            one.path,
            "Put --index-url https://download.pytorch.org/whl/cpu and torch into a file of their own, "
            "and install it first.",
            one.line,
        )


def _uses_cuda(module: Module) -> tuple[bool, bool]:
    """Whether the module asks for CUDA by name, and whether it asks if there is one."""
    wants = any(re.search("cuda|rocm", c.last.root.base) for c in containers(module))
    adapts = False
    for source in module.python.values():
        for node in source.nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                wants |= bool(re.fullmatch(r"cuda(:\d+)?", node.value))
            elif isinstance(node, ast.Attribute):
                wants |= node.attr == "cuda"
                adapts |= node.attr in {"is_available", "device_count"}
    return wants, adapts
