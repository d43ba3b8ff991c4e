"""The image: what its container runs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

from foundry_cm.checks.container import Container, containers
from foundry_cm.checks.finding import Edit, Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.source import Source
from foundry_cm.checks.start import Start, start_of

# Bases whose own command is a shell or an interpreter, and nobody's module.
_PLAIN_BASE = re.compile(
    r"(.*/)?(python|pypy|node|debian|ubuntu|alpine|busybox|fedora|rockylinux|almalinux|amazonlinux"
    r"|ubi\d*(-minimal)?|golang|openjdk|eclipse-temurin|cuda|pytorch|tensorflow|miniconda3|mambaforge"
    r"|micromamba|scratch|distroless.*|python3.*|base)([:@].*)?"
)
_CLIENT_MODULES = ("annotations", "function_registry", "startup", "client", "resources", "bin")
_CLIENT_WORDS = re.compile(
    r"GET_JOB_(URI|PATH)|RUNTIME_(HOST|API|PORT)|MODULE_AUTH_TOKEN|BUILD2_TOKEN|RESOURCE_ALIAS_MAP"
    r"|FOUNDRY_SERVICE_DISCOVERY|FOUNDRY_URL|internal-query|palantir/compute-module"
)
_JAVASCRIPT = (".js", ".mjs", ".cjs", ".ts", ".mts", "package.json")
_STOPS = re.compile(r"SIGTERM|uvicorn\.run|run_app\(")

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


def _starts(module: Module) -> list[Start]:
    """What each image of a module runs, where its Dockerfile says so."""
    return module.once(_find_starts)


def _find_starts(module: Module) -> list[Start]:
    return [start for container in containers(module) if (start := start_of(container))]


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
    for start in _starts(module):
        if not start.keeps_shell:
            continue
        path, line = start.keeps_shell
        instruction = start.instruction
        if path != start.place[0]:
            fix = "Write exec before the last command of the script."
        elif instruction.json_form or not start.in_shell:
            fix = "Write exec before the last command, or leave the shell out."
        elif instruction.text.startswith("["):
            fix = "A list needs double quotes; as it is written, the shell gets it as text."
        else:
            fix = f'Write it as a list: {instruction.name} ["python", "app.py"].'
        edit = _as_list(start) if start.in_shell and path == start.place[0] else ()
        yield Finding(
            "A shell is process 1, and keeps SIGTERM from the program", path, fix, line, edit=edit
        )


def _as_list(start: Start) -> tuple[Edit, ...]:
    path, line = start.place
    text = start.instruction.text
    whole = start.container.module.lines(path)[line - 1].strip()
    if not re.fullmatch(r"[\w./:= -]+", text) or not whole.endswith(text):
        return ()
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
    ),
    good=(
        _with('CMD ["python", "-u", "app.py"]\n'),
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

    The container ends as soon as it starts. Shells, entry scripts and `python -m` are followed.
    """
    for start in _starts(module):
        for (path, line), name in start.missing:
            where = start.container.workdir(start.container.last)
            there = sorted(n for n in start.container.files if n.endswith((".py", ".js", ".sh")))
            known = f" It has {', '.join(there[:3])}." if there else ""
            yield Finding(
                f"{name} is not in the image",
                path,
                f"Copy it, or name the file that is copied; the command runs in {where}.{known}",
                line,
            )


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
        _with(
            'CMD ["python", "main.py"]\n',
            main__py="from lib import client\n",
        )
        | {
            "src/lib/__init__.py": "",
            "src/lib/client.py": 'import os\nURI = os.environ["GET_JOB_URI"]\n',
        },
        _with('LABEL server.openapi=\'{}\'\nCMD ["python", "app.py"]\n', app__py="import flask\n"),
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
    for start in _starts(module):
        if start.files and not start.missing and start.language and not _has_client(start):
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
        return any(map(_CLIENT_WORDS.search, _javascript(start.container)))
    return any(map(_is_client, start.sources))


def _is_client(source: Source) -> bool:
    for found in source.imports:
        top, _, rest = found.target.partition(".")
        if top == "foundry_sdk" or (
            top == "compute_modules" and rest.partition(".")[0] in ("", *_CLIENT_MODULES)
        ):
            return True
    return any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _CLIENT_WORDS.search(node.value)
        for node in source.nodes
    )


def _javascript(container: Container) -> list[str]:
    module = container.module
    return [module.text(name) or "" for name in module.files if name.endswith(_JAVASCRIPT)]


@check(
    "CM116",
    "unhandled-stop",
    severity=Severity.NOTICE,
    bad=(
        Bad(
            "Dockerfile:5",
            _with('CMD ["python", "app.py"]\n', app__py=APP.replace("SIGTERM", "SIGINT")),
        ),
        Bad(
            "Dockerfile:5", {"Dockerfile": NODE + 'CMD ["node", "app.js"]\n', "src/app.js": "1;\n"}
        ),
    ),
    good=(
        _with('CMD ["python", "app.py"]\n'),
        _with('CMD ["python", "m.py"]\n', m__py="import app\n", app__py=APP),
        _with('ENTRYPOINT ["tini", "--"]\nCMD ["python", "m.py"]\n', m__py="print(1)\n"),
        _with('STOPSIGNAL SIGINT\nCMD ["python", "m.py"]\n', m__py="print(1)\n"),
        _with("CMD python m.py\n", m__py="print(1)\n"),
        {
            "Dockerfile": NODE + 'CMD ["node", "app.js"]\n',
            "src/app.js": 'process.on("SIGTERM", () => process.exit(0));\n',
        },
    ),
)
def unhandled_stop(module: Module) -> Iterator[Finding]:
    """The program is process 1 of its container and has no handler for SIGTERM.

    The kernel ignores the signal for process 1 unless it is handled, so every stop and every
    upgrade waits until Foundry kills the container.
    """
    for start in _starts(module):
        handled = start.has_init or start.keeps_shell or start.container.final("STOPSIGNAL")
        if not start.files or not start.language or handled:
            continue
        texts = [source.text for source in start.sources]
        if start.language == "node":
            texts = _javascript(start.container)
        if not any(map(_STOPS.search, texts)):
            how = (
                "signal.signal(signal.SIGTERM, ...)"
                if start.language == "python"
                else 'process.on("SIGTERM", ...)'
            )
            path, line = start.place
            yield Finding(
                "The program is process 1 and does not handle SIGTERM: every stop waits to be killed",
                path,
                f"Call {how} before the start, or put tini before the command.",
                line,
            )
