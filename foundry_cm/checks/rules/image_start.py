"""The image: what its container runs."""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterator

from foundry_cm.checks.container import containers
from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.source import Source
from foundry_cm.checks.start import Start, starts

# Bases whose own command is a shell or an interpreter, and nobody's module.
_PLAIN_BASE = re.compile(
    r"(.*/)?(python|pypy|node|debian|ubuntu|alpine|busybox|fedora|rockylinux|almalinux|amazonlinux"
    r"|ubi\d*(-minimal)?|golang|openjdk|eclipse-temurin|cuda|pytorch|tensorflow|miniconda3|mambaforge"
    r"|micromamba|miniforge3?|uv|scratch|distroless.*|python3.*|base)([:@].*)?"
)
# What of the SDK starts nothing.
_BESIDE_THE_CLIENT = ("auth", "context", "logging", "sources", "sources_v2")
_CLIENT_WORDS = re.compile(
    r"GET_JOB_(URI|PATH)|RUNTIME_(HOST|API|PORT)|MODULE_AUTH_TOKEN|BUILD2_TOKEN|RESOURCE_ALIAS_MAP"
    r"|FOUNDRY_SERVICE_DISCOVERY|FOUNDRY_URL|internal-query|palantir/compute-module"
)

APP = """\
import signal
import sys

from compute_modules.annotations import function
from compute_modules.startup import start_compute_module


@function
def double(context, event):
    return event["number"] * 2


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    start_compute_module()
"""
BUILD = """\
FROM --platform=linux/amd64 python:3.12-slim
WORKDIR /app
COPY src .
USER 5000
"""
NODE = BUILD.replace("python:3.12", "node:24")
ENTRY = '#!/bin/sh\nset -e\necho "starting"\n'


def _with(last: str, **files: str) -> dict[str, str]:
    """A module whose Dockerfile ends with these lines; the files are those of `src/`."""
    given = {f"src/{name.replace('__', '.')}": text for name, text in files.items()}
    return {"Dockerfile": BUILD + last, **(given or {"src/app.py": APP})}


@check(
    "CM103",
    "no-command",
    bad=(
        Bad("Dockerfile:1", _with("")),
        Bad("Dockerfile:5", _with("CMD []\n")),
        Bad("Dockerfile:3", {"Dockerfile": 'FROM python:3.12 AS a\nCMD ["x"]\nFROM python:3.12\n'}),
    ),
    good=(
        _with('CMD ["python", "app.py"]\n'),
        {"Dockerfile": "FROM registry.example.com/team/module-runtime:4\nUSER 5000\n"},
        {"Dockerfile": 'FROM python:3.12 AS a\nCMD ["python"]\nFROM a\nUSER 5000\n'},
    ),
)
def no_command(module: Module) -> Iterator[Finding]:
    """The image has neither CMD nor ENTRYPOINT, so nothing starts the module.

    The base's own command runs instead: with `python` an interpreter that ends at once.
    """
    for container in containers(module):
        steps = [step for name in ("ENTRYPOINT", "CMD") if (step := container.final(name))]
        if any(step.words for step in steps):
            continue
        if steps or _PLAIN_BASE.fullmatch(container.last.root.base):
            yield Finding(
                "Nothing starts the module: the image has no CMD and no ENTRYPOINT",
                container.path,
                'End the Dockerfile with CMD ["python", "app.py"], or the script that starts yours.',
                steps[-1].instruction.line if steps else container.last.line,
            )


@check(
    "CM104",
    "shell-form",
    severity=Severity.WARNING,
    bad=(
        Bad("Dockerfile:5", _with("CMD python app.py\n")),
        Bad("Dockerfile:5", _with('ENTRYPOINT python app.py "$@"\n')),
        Bad("Dockerfile:5", _with('CMD ["sh", "-c", "python app.py"]\n')),
        Bad("Dockerfile:5", _with("CMD ['python', 'app.py']\n")),
        Bad("Dockerfile:5", _with("CMD uvicorn app:app --port 8000\n")),
        Bad(
            "src/run.sh:4",
            _with('ENTRYPOINT ["/app/run.sh"]\n', run__sh=ENTRY + "python app.py\n", app__py=APP),
        ),
    ),
    good=(
        _with('CMD ["python", "app.py"]\n'),
        _with("CMD exec python app.py\n"),
        _with('ENTRYPOINT ["tini", "--", "sh", "-c", "cd /app && exec python app.py"]\n'),
        _with('CMD ["./run.sh"]\n', run__sh=ENTRY + "exec python app.py\n", app__py=APP),
        _with(
            'ENTRYPOINT ["sh", "run.sh"]\nCMD ["python", "app.py"]\n',
            run__sh=ENTRY + 'exec "$@"\n',
            app__py=APP,
        ),
        _with('CMD ["./run.sh"]\n', run__sh="trap stop TERM\npython app.py &\nwait\n", app__py=APP),
    ),
)
def shell_form(module: Module) -> Iterator[Finding]:
    """A shell stands between the container and the program.

    The shell is process 1 then and does not hand on SIGTERM: every stop waits until Foundry kills
    the container, and a call in flight is lost. In a list, or after `exec`, the program is process 1.
    """
    for start in starts(module):
        if not start.keeps_shell:
            continue
        path, line = start.keeps_shell
        instruction = start.instruction
        if path != start.place[0]:
            fix = "Write exec before the last command of the script."
        elif instruction.json_form:
            fix = "Write exec before the last command, or leave the shell out."
        elif instruction.text.startswith("["):
            fix = "A list needs double quotes; as it is written, the shell gets it as text."
        else:
            fix = f'Write it as a list: {instruction.name} ["python", "app.py"].'
        edit = _as_list(start) if path == start.place[0] else ()
        yield Finding(
            "A shell is process 1, and keeps SIGTERM from the program", path, fix, line, edit=edit
        )


def _as_list(start: Start) -> tuple[Edit, ...]:
    path, line = start.place
    text = start.instruction.text
    module = start.container.module
    whole = module.lines(path)[line - 1].strip()
    if not re.fullmatch(r"[\w./:= -]+", text) or not whole.endswith(text):
        return ()
    scripts = [name for name in start.files.values() if name.endswith(".sh")]
    if any(not (module.text(name) or "").startswith("#!") for name in scripts):
        return ()  # only a shell runs it
    words = json.dumps(text.split())
    return (Edit(path, line, line + 1, (f"{start.instruction.name} {words}",)),)


@check(
    "CM105",
    "missing-script",
    bad=(
        Bad("Dockerfile:5", _with('CMD ["python", "src/app.py"]\n')),
        Bad("Dockerfile:5", _with('ENTRYPOINT ["python", "-u", "main.py"]\n')),
        Bad("Dockerfile:5", _with("CMD exec python /srv/app.py\n")),
        Bad("Dockerfile:5", _with('CMD ["python", "-m", "worker"]\n') | {"worker.py": APP}),
        Bad("src/run.sh:4", _with('CMD ["./run.sh"]\n', run__sh=ENTRY + "exec python worker.py\n")),
        Bad("Dockerfile:5", {"Dockerfile": NODE + 'CMD ["node", "index.js"]\n', "src/app.js": "1\n"}),
        Bad(
            "Dockerfile:4",
            {
                "Dockerfile": 'FROM a:1 AS build\nCOPY src /src\nFROM b:1\nCMD ["python", "/src/app.py"]\n',
                "src/app.py": APP,
            },
        ),
        Bad("docker/Dockerfile:5", {"docker/Dockerfile": BUILD + 'CMD ["python", "x.py"]\n', "src/app.py": APP}),
        Bad("a/Containerfile:3", {"a/Containerfile": 'FROM a:1\nCOPY app.py /\nCMD ["/x.py"]\n', "a/app.py": APP}),
        Bad("Dockerfile:5", _with('CMD ["node", "-r", "x", "server"]\n')),
        Bad("Dockerfile:5", _with('CMD ["run.sh"]\n', run__sh="exec python app.py\n", app__py=APP)),
        Bad("Dockerfile:5", _with("CMD exec nohup app.py\n")),
        Bad("Dockerfile:5", {"Dockerfile": 'FROM a:1 AS x\nCOPY app.py /b/\nFROM b:1\nCOPY --from=x /b/app.py /c/\nCMD ["/c/main.py"]\n', "app.py": APP, "main.py": ""}),
        Bad("Dockerfile:6", _with('COPY app.tar.gz .\nCMD ["python", "main.py"]\n') | {"app.tar.gz": "", "main.py": APP}),
        Bad("Dockerfile:6", _with('COPY tool.py /usr/local/bin/\nCMD ["python", "tool.py"]\n') | {"tool.py": APP}),
    ),
    good=(
        _with('CMD ["python", "-u", "app.py"]\n'),
        {"docker/Dockerfile": BUILD + 'CMD ["python", "app.py"]\n', "src/app.py": APP},
        {"a/Containerfile": 'FROM a:1\nCOPY app.py /\nCMD ["/app.py"]\n', "a/app.py": APP, "app.py": ""},
        _with('CMD ["python", "app.py"]\n') | {"b/Dockerfile": 'FROM a:1\nCMD ["python", "x.py"]\n'},
        _with('CMD ["python", "/opt/tools/start.py"]\n'),
        {
            "a/Containerfile": "FROM a:1 AS x\nCOPY app.py /b/\nFROM b:1\nCOPY --from=x /b/app.py /c/main.py\n"
            'COPY --from=x /q q\nCMD ["/c/main.py"]\n',
            "a/app.py": APP,
        },
        _with('CMD ["python", "-m"]\n'),
        _with(
            'COPY run.sh /usr/local/bin/\nENTRYPOINT ["run.sh"]\nCMD ["python", "app.py"]\n'
        ) | {"run.sh": 'exec "$@"\n'},
        _with('ENV PATH=/app:$PATH\nCMD ["run.sh"]\n', run__sh="exec python app.py\n", app__py=APP),
        _with('CMD ["uv", "run", "app.py"]\n'),
        _with('COPY run.sh /usr/local/bin/\nCMD ["sh", "run.sh"]\n') | {"run.sh": "exec python app.py\n"},
        _with("CMD exec env DEBUG=1 ./app.py\n"),
        _with('CMD ["sh"]\n'),
        _with('CMD ["node", "-e", "1"]\n'),
        _with('CMD ["python", "$SCRIPT"]\n'),
        _with('COPY --from=acme/tools:1 /t /t\nCMD ["python", "/app/t.py"]\n'),
        {"Dockerfile": 'FROM a:1\nRUN echo 1 > app.py\nCMD ["python", "app.py"]\n', "src/app.py": APP},
        {"Dockerfile": 'FROM a:1\nCOPY src/[a-b]*.py /\nCMD ["python", "app.py"]\n', "src/app.py": APP},
        _with('CMD ["python", "-X", "dev", "/app/app.py"]\n'),
        _with('CMD ["python", "-m", "jobs.worker"]\n') | {"src/jobs/worker.py": APP},
        _with('ENV PYTHONPATH=/app/lib\nCMD ["python", "-m", "w"]\n') | {"src/lib/w/__main__.py": APP},
        _with('CMD ["python", "-m", "uvicorn", "app:app"]\n'),
        _with('CMD ["/opt/tools/start", "now"]\n'),
        {"Dockerfile": NODE + 'RUN npm run build\nCMD ["node", "dist/index.js"]\n'},
        {"Dockerfile": 'FROM a:1\nADD https://example.com/app.py /\nCMD ["python", "app.py"]\n'},
        {
            "Dockerfile": "FROM a:1 AS build\nWORKDIR /b\nCOPY src/*.py src/app.p? ./\nFROM b:1\n"
            'COPY --from=build /b /srv\nWORKDIR /srv\nCMD ["python", "app.py"]\n',
            "src/app.py": APP,
        },
    ),
)  # fmt: skip
def missing_script(module: Module) -> Iterator[Finding]:
    """The command runs a file that no COPY brings into the image.

    The container ends as soon as it starts. Shells, entry scripts and `python -m` are followed. A
    script that is run by its name alone has to lie in a folder of `PATH`, as everywhere.
    """
    for start in starts(module):
        for (path, line), name in start.missing:
            where = start.container.workdir(start.container.last)
            there = [n for n in start.container.files if n.endswith((".py", ".js", ".sh"))]
            # What lies in the working folder first: there the file was looked for.
            there.sort(key=lambda file: (file.count("/"), not file.startswith(where), file))
            known = f" It has {', '.join(there[:3])}." if there else ""
            message = f"{name} is not in the image"
            fix = f"Copy it, or name the file that is copied; the command runs in {where}.{known}"
            if "/" not in name and posixpath.join(where, name) in start.container.files:
                message = (
                    f"{name} is in {where}, and a command without a folder is searched in PATH"
                )
                fix = f"Write ./{name}."
            yield Finding(message, path, fix, line)


@check(
    "CM106",
    "no-client",
    bad=(
        Bad("Dockerfile:5", _with('CMD ["python", "app.py"]\n', app__py="print('hello')\n")),
        Bad(
            "Dockerfile:5",
            _with('CMD ["python", "-m", "other"]\n', app__py=APP, other__py="import json\n"),
        ),
        Bad(
            "Dockerfile:5",
            _with(
                'ENTRYPOINT ["./run.sh"]\n',
                run__sh=ENTRY + "exec python other.py\n",
                app__py=APP,
                other__py="from compute_modules.context import QueryContext\n",
            ),
        ),
        Bad(
            "Dockerfile:5",
            _with('CMD ["/app/m.py"]\n', m__py='NAME = "w"\n', w__py=APP),
        ),
        Bad(
            "Dockerfile:5", _with('CMD ["./go"]\n', go="#!/bin/sh\nexec python m.py\n", m__py="1\n")
        ),
        Bad(
            "Dockerfile:5", {"Dockerfile": NODE + 'CMD ["node", "app.js"]\n', "src/app.js": "1;\n"}
        ),
    ),
    good=(
        _with('CMD ["python", "app.py"]\n'),
        _with('CMD ["python", "main.py"]\n', main__py="import app\n", app__py=APP),
        _with(
            'CMD ["python", "main.py"]\n',
            main__py='import subprocess, sys\nsubprocess.run([sys.executable, "-m", "worker"])\n',
            worker__py=APP,
        ),
        _with('CMD ["python", "-m", "a.run"]\n', app__py=APP)
        | {
            "src/a/run.py": "from .b.c import d\n",
            "src/a/b/c.py": "from . import d\nfrom .. import e\n",
            "src/a/e.py": "from ..app import double\n",
        },
        _with('CMD ["python", "-m", "a.run"]\n', app__py=APP)
        | {"src/a/run.py": "from . import b\n", "src/a/__init__.py": "import app\n"},
        _with('CMD ["python", "m.py"]\n', m__py="from compute_modules import add_functions\n"),
        _with(
            'CMD ["python", "main.py"]\n',
            main__py="from lib import client\n",
        )
        | {
            "src/lib/__init__.py": "",
            "src/lib/client.py": 'import os\nURI = os.environ["GET_JOB_URI"]\n',
        },
        _with('LABEL server.openapi=\'{}\'\nCMD ["python", "app.py"]\n', app__py="import flask\n"),
        _with('CMD ["python", "app.py"]\n', app__py="import flask\ndef (:\n"),
        {
            "Dockerfile": NODE + 'CMD ["node", "app.js"]\n',
            "src/app.js": 'import { ComputeModule } from "@palantir/compute-module";\n',
        },
    ),
)
def no_client(module: Module) -> Iterator[Finding]:
    """What the container runs never starts the client of compute modules.

    The command runs another file than the one with the functions, or the file lost its start. The
    container looks healthy and never asks Foundry for a job.
    """
    for start in starts(module):
        # A file that cannot be parsed is a finding of its own, and may well start the client.
        unread = any(source.error for source in start.sources)
        if (
            start.files
            and not (start.missing or unread)
            and start.language
            and not _has_client(start)
        ):
            path, line = start.place
            yield Finding(
                f"{next(iter(start.files.values()))} never starts the client of compute modules",
                path,
                "Run the file that has your functions and ends with start_compute_module().",
                line,
            )


def _has_client(start: Start) -> bool:
    if any("server.openapi" in s.instruction.text for s in start.container.last.steps):
        return True
    if start.language == "node":
        return any(map(_CLIENT_WORDS.search, start.texts))
    return any(map(_is_client, start.sources))


def _is_client(source: Source) -> bool:
    for found in source.imports:
        top, _, rest = found.target.partition(".")
        starts_it = top == "compute_modules" and rest.partition(".")[0] not in _BESIDE_THE_CLIENT
        if top == "foundry_sdk" or starts_it:
            return True
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _CLIENT_WORDS.search(node.value)
        for node in source.nodes
    )
