"""Secrets: keys, tokens and passwords in files and in git."""

from __future__ import annotations

import re
from collections.abc import Iterator

from foundry_cm.checks.credentials import Secret, by_form, by_name
from foundry_cm.checks.finding import Finding
from foundry_cm.checks.history import added
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check

_SETTINGS = re.compile(r".*\.(ya?ml|toml|json|sh|bash|ini|cfg|conf|properties|js|ts|mjs|env)")
# They are for one machine, and other checks see to it that they stay there.
_LOCAL = re.compile(r"(.*/)?(\.env(\..*)?|.*\.local\.\w+)")
_GENERATED = re.compile(r"(.*/)?(.*\.lock|package-lock\.json|schema\.json|.*\.min\.js)")
_MEND = (
    "Revoke it, for whoever can read the repository has it. Take it from a Source at run time, and "
    "pass it to a build as a secret."
)

# Put together here, so that no scanner takes them for real ones.
_GITHUB = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
_AWS = "AKIA" + "Q3EGRIZ7T5VXW2LM"
_JWT = "eyJhbGciOiJFUzI1NiJ9" + ".eyJzdWIiOiJBYmNkZWZnIn0" + ".c2lnbmF0dXJlLW9mLWl0"
_KEY = "-----BEGIN PRIVATE" + " KEY-----\\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 3


@check(
    "CM401",
    "key-in-file",
    bad=(
        Bad(
            "requirements.txt:1",
            {"requirements.txt": "--index-url https://me:s3cr3tw0rd@pypi.acme.io/simple\n"},
        ),
        Bad("Dockerfile:2", {"Dockerfile": f"FROM python:3.12\nRUN pip config set x {_AWS}\n"}),
        Bad("events/add.json:2", {"events/add.json": f'{{\n  "auth": "{_JWT}"\n}}\n'}),
        Bad("README.md:1", {"README.md": f'curl -H "key: {_KEY}" ...\n'}),
        Bad("src/app.py:2", {"src/app.py": f'import os\nAUTH = "Bearer {_GITHUB}"\n'}),
        Bad("compose.yaml:1", {"compose.yaml": "url: postgres://app:letmein42@db:5432/app\n"}),
    ),
    good=(
        {"src/app.py": 'AUTH = "ghp_' + "x" * 36 + '"\nKEY = "AKIAIOSFODNN7' + 'EXAMPLE"\n'},
        {"Dockerfile": "RUN pip install -i https://user:$TOKEN@acme.io/simple a\n"},
        {"src/app.py": 'URL = f"https://{user}:{password}@host/path"\n'},
        {"README.md": "postgres://user:password@host/db, https://<user>:<token>@host\n"},
        {"src/app.py": 'PEM = "-----BEGIN PRIVATE' + ' KEY-----"\n'},
        {"notes.md": f"x{_AWS}\n"},
        {"a.lock": f"sha256:{'0123456789abcdef' * 4}\n"},
    ),
)
def key_in_file(module: Module) -> Iterator[Finding]:
    """A key or a token of a known form, a private key, or a password in an address.

    It gets into the image with the code, and into every clone of the repository.
    """
    for path in _read(module):
        for secret in by_form(module.text(path) or ""):
            yield Finding(f"{secret.kind} is written here", path, _MEND, secret.line, secret=True)


@check(
    "CM402",
    "password-in-code",
    bad=(
        Bad("src/app.py:2", {"src/app.py": 'import os\nPASSWORD = "hunter22"\n'}),
        Bad("src/app.py:1", {"src/app.py": 'connect(host="db", api_key="a81f0c2be7d94c35")\n'}),
        Bad("src/app.py:1", {"src/app.py": 'H = {"client_secret": "Zk3v-9qLm-77xTpw2"}\n'}),
        Bad("src/app.py:1", {"src/app.py": 'self.token: str = "9f8b7a6c5d4e3f2a1b0c"\n'}),
        Bad("src/app.py:1", {"src/app.py": 'def f(user, password="S3same!"): ...\n'}),
        Bad("src/app.py:1", {"src/app.py": 'f(password="abcd")\n'}),
        Bad("src/app.py:1", {"src/app.py": 'f(token="a1b2c3d4e5f6")\n'}),
        Bad("src/app.py:2", {"src/app.py": 'import os\nos.getenv("API_TOKEN", "9f8b7a6c5d4e3f2a")\n'}),
        Bad(
            "compose.yaml:3 compose.yaml:4",
            {
                "compose.yaml": "environment:\n  A: b\n  POSTGRES_PASSWORD: postgres1\n"
                "  - API_TOKEN=9f8b7a6c5d4e3f2a1b0c\n"
            },
        ),
        Bad("events/e.json:1", {"events/e.json": '{\n"apiKey": "9f8b7a6c5d4e3f2a1b0c"\n}\n'[2:]}),
        Bad("src/app.js:1", {"src/app.js": 'const apiToken = "9f8b7a6c5d4e3f2a1b0c";\n'}),
    ),
    good=(
        {"src/app.py": 'PASSWORD = os.environ["PASSWORD"]\nTOKEN = "..."\nTOKEN = ""\n'},
        {"src/app.py": 'tokenizer = "bert-base-uncased"\npad_token = "<pad>"\nmax_tokens = "512"\n'},
        {"src/app.py": 'API_KEY = "additionalSecretApiKey2"\nTOKEN = "/opt/module-auth-token/TOKEN_1"\n'},
        {"src/app.py": 'login(password="abc", token="a1b2c3d4e5f", db_password="see notes 1")\n'},
        {"src/app.py": 'login(password="password", token="your-token-here-123")\n'},
        {"src/app.py": 'TOKEN_URL = "https://login.acme.io/oauth/v2/token"\n'},
        {"compose.yaml": "PASSWORD: ${DB_PASSWORD}\nAPI_TOKEN: <token 1234567890>\n"},
        {"ci.yml": "token: ${{ secrets.GITHUB_TOKEN }}\npassword: $CI_REGISTRY_PASSWORD\n"},
        {"a.json": '{"token": "next-page-token-2", "secret": "kiwi"}\n'},
        {".env": "PASSWORD=hunter22\n"},
    ),
)  # fmt: skip
def password_in_code(module: Module) -> Iterator[Finding]:
    """A password, token or key that is written as text, known by the name it is given to."""
    for path in _read(module):
        python = path.endswith(".py")
        if not python and not _SETTINGS.fullmatch(path):
            continue
        text = module.text(path) or ""
        source = module.source(path) if python else None
        known = {secret.line for secret in by_form(text)}
        for secret in by_name(text, source):
            if secret.line not in known:
                yield Finding(
                    f"{secret.kind} is written here", path, _MEND, secret.line, secret=True
                )


@check("CM403", "secret-in-history", proof="tests/checks/test_history.py")
def secret_in_history(module: Module) -> Iterator[Finding]:
    """A secret that is in git although no file has it any more.

    Every clone has it. Of the last 50 commits, about a megabyte of what they added is read.
    """
    present = [module.text(path) or "" for path in _read(module)]
    told: set[str] = set()
    for change in added(module.folder):
        if _LOCAL.fullmatch(change.path) or _GENERATED.fullmatch(change.path):
            continue
        text = "\n".join(change.lines)
        named = _SETTINGS.fullmatch(change.path) or change.path.endswith(".py")
        for secret in [*by_form(text), *(by_name(text, None) if named else ())]:
            if secret.value in told or any(secret.value in other for other in present):
                continue
            told.add(secret.value)
            yield _in_history(secret, change.path, change.numbers[secret.line - 1], change.commit)


def _in_history(secret: Secret, path: str, line: int, commit: str) -> Finding:
    return Finding(
        f"{secret.kind} is in the history: commit {commit} added it to this file",
        path,
        "Revoke it: every clone has it. git filter-repo takes it out of the history as well.",
        line,
        secret=True,
    )


def _read(module: Module) -> list[str]:
    """The files that are searched: those that people write, and that are not for one machine."""
    return module.once(_find_files)


def _find_files(module: Module) -> list[str]:
    return [
        path
        for path in module.files
        if not _LOCAL.fullmatch(path)
        and not _GENERATED.fullmatch(path)
        and module.text(path) is not None
    ]
