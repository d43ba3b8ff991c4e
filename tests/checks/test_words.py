"""The words of findings: what, where, how bad, and the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_cm import checks
from foundry_cm.checks import Module
from foundry_cm.checks.fixes import mended
from foundry_cm.checks.registry import Files
from foundry_cm.checks.rules import image, image_start, requirements, sources
from tests.checks import words_of_code
from tests.checks.test_examples import write
from tests.conftest import commit

BASE = image.GOOD
SDK = requirements.SDK_RANGE
APP = image_start.APP
START = image_start.BUILD
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"

WORDS: list[tuple[str, Files, str, str]] = [
    *words_of_code.WORDS,
    (
        "CM101",
        {"Dockerfile": BASE.replace("--platform=linux/amd64 ", "")},
        "warning Dockerfile:1 The image is for the machine that builds it",
        "Foundry runs linux/amd64: write FROM --platform=linux/amd64.",
    ),
    (
        "CM101",
        {"Dockerfile": BASE.replace("linux/amd64", "linux/arm64")},
        "error Dockerfile:1 The image is for linux/arm64",
        "Foundry runs linux/amd64: write FROM --platform=linux/amd64.",
    ),
    (
        "CM101",
        {"Dockerfile": BASE.replace("--platform=linux/amd64 ", "arm64v8/")},
        "error Dockerfile:1 The image is for arm64v8",
        "Foundry runs linux/amd64: write FROM --platform=linux/amd64.",
    ),
    (
        "CM102",
        {"Dockerfile": BASE.replace("5000", "app")},
        'error Dockerfile:6 USER is "app", a name',
        "End the Dockerfile with a numeric USER, such as USER 5001.",
    ),
    (
        "CM102",
        {"Dockerfile": "FROM a:1 AS build\nRUN true\nUSER 5000\nRUN true\n" + BASE.replace("USER 5000\n", "")},
        "error Dockerfile:5 The USER of line 3 is another stage's: the image runs as root",
        "End the Dockerfile with a numeric USER, such as USER 5001.",
    ),
    (
        "CM102",
        {"Dockerfile": BASE.replace("USER 5000\n", "")},
        "error Dockerfile:1 No USER is set: it runs as root",
        "End the Dockerfile with a numeric USER, such as USER 5001.",
    ),
    (
        "CM107",
        {"Dockerfile": BASE.replace("3.12-slim", "latest")},
        "warning Dockerfile:1 The base python:latest is latest",
        "Name a version, such as python:3.12-slim.",
    ),
    (
        "CM107",
        {"Dockerfile": BASE.replace("python:3.12-slim", "acme/base")},
        "warning Dockerfile:1 The base acme/base has no tag",
        "Name a version, such as acme/base:1.2.3.",
    ),
    (
        "CM104",
        {"Dockerfile": START + "CMD ['python', 'app.py']\n", "src/app.py": APP},
        "warning Dockerfile:5 A shell is process 1, and keeps SIGTERM from the program",
        "A list needs double quotes; as it is written, the shell gets it as text.",
    ),
    (
        "CM104",
        {"Dockerfile": START + 'CMD ["sh", "-c", "python app.py"]\n', "src/app.py": APP},
        "warning Dockerfile:5 A shell is process 1, and keeps SIGTERM from the program",
        "Write exec before the last command, or leave the shell out.",
    ),
    (
        "CM104",
        {"Dockerfile": START + "CMD python app.py\n", "src/app.py": APP},
        "warning Dockerfile:5 A shell is process 1, and keeps SIGTERM from the program",
        'Write it as a list: CMD ["python", "app.py"].',
    ),
    (
        "CM104",
        {"Dockerfile": START + 'ENTRYPOINT ["tini", "--"]\nCMD python app.py\n', "src/app.py": APP},
        "warning Dockerfile:6 A shell is process 1, and keeps SIGTERM from the program",
        "Write exec before the last command, or leave the shell out.",
    ),
    (
        "CM104",
        {"Dockerfile": START + 'CMD ["./run.sh"]\n', "src/run.sh": "python app.py\n", "src/app.py": APP},
        "warning src/run.sh:1 A shell is process 1, and keeps SIGTERM from the program",
        "Write exec before the last command of the script.",
    ),
    (
        "CM105",
        {"Dockerfile": START + 'CMD ["python", "main.py"]\n', "src/app.py": APP, "src/data.csv": ""},
        "error Dockerfile:5 main.py is not in the image",
        "Copy it, or name the file that is copied; the command runs in /app. It has /app/app.py.",
    ),
    (
        "CM105",
        {"Dockerfile": START + 'CMD ["run.sh"]\n', "src/run.sh": "exec python app.py\n", "src/app.py": APP},
        "error Dockerfile:5 run.sh is in /app, and a command without a folder is searched in PATH",
        "Write ./run.sh.",
    ),
    (
        "CM105",
        {"Dockerfile": START.replace("COPY src .\n", "") + 'CMD ["python", "app.py"]\n', "src/app.py": APP},
        "error Dockerfile:4 app.py is not in the image",
        "Copy it, or name the file that is copied; the command runs in /app.",
    ),
    (
        "CM253",
        {"Dockerfile": START + 'CMD ["python", "app.py"]\n', "src/app.py": APP.replace("SIGTERM", "SIGINT")},
        "warning Dockerfile:5 Python is process 1 and handles no SIGTERM: it does not stop when it is told to",
        "Write signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)) before the start. "
        "Write atexit.unregister(start_compute_module) below the imports.",
    ),
    (
        "CM253",
        {"Dockerfile": image_start.NODE + 'CMD ["node", "app.js"]\n', "src/app.js": "'@palantir/compute-module'\n"},
        "warning Dockerfile:5 Node.js is process 1 and handles no SIGTERM: it does not stop when it is told to",
        'Write process.on("SIGTERM", () => process.exit(0)) before the start.',
    ),
    (
        "CM110",
        {"Dockerfile": BASE.replace("COPY src", "COPY .env"), ".env": ""},
        "error Dockerfile:5 .env gets into the image",
        "Leave it out. Pass it as a build secret, or by a Source at run time.",
    ),
    (
        "CM110",
        {"Dockerfile": BASE.replace("COPY src", "COPY ."), ".env": "", ".dockerignore": ".venv\n"},
        "error Dockerfile:5 .env gets into the image",
        "Write .env into .dockerignore.",
    ),
    (
        "CM304",
        {"requirements.txt": f"{SDK}\nultralytics\n", "app.py": "import cv2\n", "Dockerfile": BASE},
        "error requirements.txt:2 ultralytics installs opencv-python, which needs libGL, which python:3.12-slim has not",
        "Ask for ultralytics-opencv-headless, the same library by the same name.",
    ),
    (
        "CM304",
        {"requirements.txt": f"{SDK}\nopencv-python\n", "app.py": "import cv2\n", "Dockerfile": BASE},
        "error requirements.txt:2 opencv-python needs libGL, which python:3.12-slim has not",
        "Ask for opencv-python-headless.",
    ),
    (
        "CM306",
        {"requirements.txt": f"-r all.lock\n{SDK}\n", "all.lock": "attrs==25.1\n", "app.py": "import polars\n"},
        "error app.py:1 No requirement provides polars",
        "Add polars to requirements.txt.",
    ),
    (
        "CM306",
        {"requirements.txt": f"{SDK}\nacme-tool\n", "app.py": "import polars\n"},
        "warning app.py:1 No requirement provides polars, unless acme-tool does",
        "Add polars to requirements.txt.",
    ),
    (
        "CM306",
        {
            "Dockerfile": "FROM python:3.12\nRUN pip install -r all.lock -r requirements.txt\n",
            "all.lock": f"{SDK}\n",
            "requirements.txt": f"{SDK}\n",
            "app.py": "import polars\n",
        },
        "error app.py:1 No requirement provides polars",
        "Add polars to requirements.txt.",
    ),
    (
        "CM306",
        {"Dockerfile": f"FROM python:3.12\nRUN pip install '{SDK}'\n", "app.py": "import polars\n"},
        "error app.py:1 No requirement provides polars",
        "Add polars to the Dockerfile.",
    ),
    (
        "CM405",
        {"src/app.py": "X = 1\n", "src/cmkit/sources.py": 'A = "Prices"\n', "sources.example.toml": sources.TOML},
        "notice sources.example.toml:2 No code uses the Source Prices",
        "Use it, or take Prices out of the module in Foundry and here.",
    ),
    (
        "CM401",
        {"src/app.py": f'A = "{TOKEN}"\n'},
        "error src/app.py:1 A GitHub token is written here",
        "Revoke it, for whoever can read the repository has it. Take it from a Source at run time, "
        "and pass it to a build as a secret.",
    ),
]  # fmt: skip

MENDS: list[tuple[Files, str, str]] = [
    *words_of_code.MENDS,
    (
        {
            "Dockerfile": START + "CMD ./run.sh\n",
            "src/run.sh": "#!/bin/sh\nexec python app.py\n",
            "src/app.py": APP,
        },
        "Dockerfile",
        START + 'CMD ["./run.sh"]\n',
    ),
    (
        {"Dockerfile": BASE.replace("--platform=linux/amd64 ", "")},
        "Dockerfile",
        BASE,
    ),
    (
        {"Dockerfile": BASE.replace("FROM --platform=linux/amd64", "from  --platform=arm64")},
        "Dockerfile",
        BASE.replace("FROM ", "from  "),
    ),
    (
        {"Dockerfile": START + "CMD python -u app.py\nEXPOSE 9000\n", "src/app.py": APP},
        "Dockerfile",
        START + 'CMD ["python", "-u", "app.py"]\nEXPOSE 9000\n',
    ),
    (
        {
            "sources.example.toml": sources.TOML,
            "app.py": 'A = "Prices"\n',
            ".gitignore": ".venv/\n",
        },
        ".gitignore",
        ".venv/\nsources.local.toml\n",
    ),
]

# What a mend could get wrong, so that none is offered.
UNMENDED: list[Files] = [
    *words_of_code.UNMENDED,
    {"Dockerfile": BASE.replace("python:3.12", "arm64v8/python:3.12")},
    {"Dockerfile": START + "CMD python \\\n  app.py\n", "src/app.py": APP},
    {"Dockerfile": START + "CMD ./run.sh\n", "src/run.sh": "python app.py\n", "src/app.py": APP},
    *(
        {"Dockerfile": f"{START}{command}\n", "src/app.py": APP}
        for command in ("CMD python $APP", "CMD python app.py && true", 'CMD python "a b.py"')
    ),
]


@pytest.mark.parametrize(("code", "files", "what", "fix"), WORDS, ids=lambda value: str(value)[:60])
def test_a_finding_says_what_where_and_how_bad(
    code: str, files: Files, what: str, fix: str, tmp_path: Path
) -> None:
    write(tmp_path, files)
    found = {
        f"{f.severity} {f.where} {f.message}": f.fix for f in checks.run(tmp_path) if f.code == code
    }
    assert what in found, sorted(found)
    assert found[what] == fix
    assert TOKEN not in str(found)


@pytest.mark.parametrize(("files", "path", "text"), MENDS, ids=lambda value: str(value)[:30])
def test_a_mend_that_cannot_be_wrong_is_offered(
    files: Files, path: str, text: str, tmp_path: Path
) -> None:
    write(tmp_path, files)
    changed = mended(Module.read(tmp_path), checks.run(tmp_path))
    assert {file.path: file.after for file in changed}[path] == text


@pytest.mark.parametrize("files", UNMENDED, ids=lambda files: str(files)[:60])
def test_what_takes_a_choice_is_not_mended(files: Files, tmp_path: Path) -> None:
    write(tmp_path, files)
    assert mended(Module.read(tmp_path), checks.run(tmp_path)) == []


def test_git_itself_is_asked_what_it_ignores(tmp_path: Path) -> None:
    write(tmp_path, {"sources.example.toml": sources.TOML, "app.py": 'A = "Prices"\n'})
    commit(tmp_path, "good")
    assert [f.where for f in checks.run(tmp_path) if f.code == "CM406"] == [".gitignore:1"]
    (tmp_path / ".git/info").mkdir(exist_ok=True)
    (tmp_path / ".git/info/exclude").write_text("*.local.toml\n")
    assert [f.where for f in checks.run(tmp_path) if f.code == "CM406"] == []
