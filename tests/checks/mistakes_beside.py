"""Mistakes beside the code, for the corpus: in the Dockerfile, in requirements, secrets and Sources."""

from __future__ import annotations

import re
from collections.abc import Iterator

from foundry_cm.checks.registry import Files

# In two parts, so that no scanner takes it for a real one.
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
APPENDED = {
    "USER root": "CM102",
    "EXPOSE 80": "CM108",
    "EXPOSE 9000 8946/tcp": "CM108",
    "COPY .env /app/.env": "CM110",
    "COPY secrets/token.txt ./": "CM110",
    "ENV API_TOKEN=a81f0c2be7d94c35": "CM112",
    "ARG DB_PASSWORD": "CM112",
    'CMD ["python", "other.py"]\nENTRYPOINT []': "CM105",
    f"RUN pip config set global.token {TOKEN}": "CM401",
    "pip install numpy": "CM100",
}
IN_CODE = {
    f"AUTH = 'Bearer {TOKEN}'": "CM401",
    "DATABASE = 'postgres://app:letmein42@db.acme.io/app'": "CM401",
    "PASSWORD = 'S3same-0pen'": "CM402",
    "import duckdb": "CM306",
    "import skimage.measure": "CM306",
}
Made = tuple[str, str, str, str]
"""The code, the path, the text with the mistake, and what the line holds that it is found on."""


def beside(files: Files, app: str | None) -> Iterator[Made]:
    """Every mistake that can be made in the files beside the code."""
    if "Dockerfile" in files:
        yield from _in_dockerfile(files["Dockerfile"])
    if app:
        for line, code in IN_CODE.items():
            yield code, app, f"{line}\n{files[app]}", line
        if not any("sources_v2" in text for text in files.values()):
            call = "import urllib.request\nurllib.request.urlopen('https://api.acme.io/v1')\n"
            yield "CM404", app, call + files[app], "api.acme.io"
    if "requirements.txt" in files:
        yield from _in_requirements(files)
    else:
        yield from _in_lists_of_tools(files)
    yield "CM401", "events/one.json", f'{{\n  "key": "{TOKEN}"\n}}\n', TOKEN
    compose = "services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: hunter22\n"
    yield "CM402", "compose.yaml", compose, "hunter22"


def _in_dockerfile(text: str) -> Iterator[Made]:
    def made(code: str, changed: str, at: str) -> Made:
        return code, "Dockerfile", changed, at

    lines = text.splitlines()
    last = next(line for line in reversed(lines) if line.startswith("FROM"))
    for wrong in (re.sub(r"--platform=\S+ ", "", last), last.replace("amd64", "arm64")):
        yield made("CM101", text.replace(last, wrong), wrong)
    floating = re.sub(r"\S+$", "registry.acme.io/base", last)
    yield made("CM107", text.replace(last, floating), floating)
    bare = re.sub(r"\S+$", "gcr.io/distroless/python3-debian12:nonroot", last)
    yield made("CM109", text.replace(last, bare), bare)
    user = next((line for line in lines if line.startswith("USER")), None)
    if user:
        yield made("CM102", text.replace(f"{user}\n", ""), last)
        yield made("CM102", text.replace(user, "USER module"), "USER module")
    start = next(line for line in lines if line.startswith(("CMD", "ENTRYPOINT")))
    if "python" in start and text.count("\nCMD") + text.count("\nENTRYPOINT") == 1:
        yield made("CM103", text.replace(f"{start}\n", ""), last)
        shell = re.sub(r"[\[\]\",]", "", start)
        yield made("CM104", text.replace(start, shell), shell)
    for added, code in APPENDED.items():
        yield made(code, f"{text.rstrip()}\n{added}\n", added.splitlines()[0])


def _in_requirements(files: Files) -> Iterator[Made]:
    text = files["requirements.txt"]
    yield "CM307", "requirements.txt", f"{text.rstrip()}\nduckdb>=1,<2\n", "duckdb"
    index = "--extra-index-url https://pypi.acme.io/simple"
    yield "CM308", "requirements.txt", f"{text.rstrip()}\n{index}\n", index
    for path in ("requirements.txt", "requirements-template.txt"):
        asked = re.search(r"^foundry-compute-modules.*$", files.get(path, ""), re.MULTILINE)
        if not asked:
            continue
        for wrong in ("foundry-compute-modules", "foundry-compute-modules==0.31.0"):
            yield "CM302", path, files[path].replace(asked[0], wrong), wrong


def _in_lists_of_tools(files: Files) -> Iterator[Made]:
    """The SDK is gone from what another tool than pip installs, or is an old one."""
    for path in ("pyproject.toml", "Pipfile", "environment.yml"):
        text = files.get(path, "")
        asked = re.search(r"^.*foundry-compute-modules.*\n", text, re.MULTILINE)
        if asked:
            yield "CM301", path, text.replace(asked[0], ""), text.splitlines()[0]
            old = re.sub(r"[~^>=]*0\.34[^\"\n]*", "==0.31.0", asked[0])
            yield "CM302", path, text.replace(asked[0], old), old.strip()
