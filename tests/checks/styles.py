"""Modules written by hand, in the styles that people use. None has a mistake."""

from __future__ import annotations

from foundry_cm.checks.registry import Files

DOCKERFILE = """FROM --platform=linux/amd64 python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY src .
USER 5000
CMD ["python", "app.py"]
"""
TORCH_FOR_CPU = """RUN pip install --index-url https://download.pytorch.org/whl/cpu torch==2.9.0
ENV HF_HOME=/tmp/huggingface
"""
AROUND = {
    "Dockerfile": DOCKERFILE,
    "requirements.txt": "foundry-compute-modules==0.34.0\n",
    ".dockerignore": ".git\n.env\n",
}
SDK = """import atexit
import signal
import sys
from dataclasses import dataclass

from compute_modules.annotations import function
from compute_modules.startup import ConcurrencyType, start_compute_module

atexit.unregister(start_compute_module)
"""
RECORD = "\n\n@dataclass\nclass Query:\n    text: str\n    limit: int\n"
MAIN = """

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    start_compute_module(concurrency_type=ConcurrencyType.THREAD_POOL)
"""


def app(body: str, *, imports: str = "", needs: str = "", more: Files | None = None) -> Files:
    """A whole module around a body; `needs` are further requirements."""
    requirements = AROUND["requirements.txt"] + needs
    text = imports + SDK + RECORD + "\n\n" + body.strip("\n") + "\n" + MAIN
    return {**AROUND, "requirements.txt": requirements, "src/app.py": text, **(more or {})}


ECHO = """
@function
def echo(context, event: Query) -> str:
    return event.text[: event.limit]
"""

SDK_RANGE = "foundry-compute-modules>=0.34,<0.35"


def installed(*steps: str, image: str = "python:3.12-slim", **files: str) -> Files:
    """A module whose image is filled by another tool than pip; `__` in the name of a file is a dot."""
    head = f"FROM --platform=linux/amd64 {image}\nWORKDIR /app\n"
    tail = 'COPY src .\nUSER 5000\nCMD ["python", "app.py"]\n'
    return {
        **{name.replace("__", "."): text for name, text in files.items()},
        ".dockerignore": ".git\n.env\n",
        "Dockerfile": head + "".join(f"{step}\n" for step in steps) + tail,
        "src/app.py": app(ECHO, imports="import numpy as np\n\nZEROS = np.zeros(3)\n\n")[
            "src/app.py"
        ],
    }


BY_OTHER_TOOLS = {
    "poetry": installed(
        "RUN pip install poetry==2.1.0",
        "COPY pyproject.toml poetry.lock ./",
        "RUN poetry config virtualenvs.create false && poetry install --only main --no-root",
        pyproject__toml='[tool.poetry.dependencies]\npython = "^3.12"\nfoundry-compute-modules = "~0.34"\nnumpy = "^2.1"\n\n[tool.poetry.group.dev.dependencies]\nruff = "*"\n',
        poetry__lock="",
    ),
    "uv": installed(
        "COPY pyproject.toml uv.lock ./",
        "RUN uv sync --frozen --no-dev",
        "ENV PATH=/app/.venv/bin:$PATH",
        image="ghcr.io/astral-sh/uv:python3.12-bookworm-slim",
        pyproject__toml=f'[project]\nname = "m"\nversion = "1"\ndependencies = [\n    "{SDK_RANGE}",\n    "numpy>=2",\n]\n\n[dependency-groups]\ndev = ["ruff"]\n',
        uv__lock="version = 1\n",
    ),
    "pipenv": installed(
        "RUN pip install pipenv==2025.0.4",
        "COPY Pipfile Pipfile.lock ./",
        "RUN pipenv install --system --deploy",
        Pipfile='[packages]\nnumpy = "*"\nfoundry-compute-modules = "~=0.34.0"\n',
        Pipfile__lock="{}",
    ),
    "pixi": installed(
        "COPY pixi.toml pixi.lock ./",
        "RUN pixi install --locked",
        image="ghcr.io/prefix-dev/pixi:0.59.0",
        pixi__toml='[dependencies]\npython = "3.12.*"\nnumpy = ">=2"\n\n[pypi-dependencies]\nfoundry-compute-modules = "==0.34.0"\n',
        pixi__lock="version: 6\n",
    ),
    "conda": installed(
        "COPY environment.yml .",
        "RUN micromamba install -y -n base -f environment.yml",
        image="mambaorg/micromamba:2.3.0",
        environment__yml=f"dependencies:\n  - python=3.12\n  - numpy=2.1\n  - ffmpeg\n  - pip:\n      - {SDK_RANGE}\n",
    ),
}  # fmt: skip

STYLES: dict[str, Files] = {
    **BY_OTHER_TOOLS,
    "plain": app(ECHO),
    "typed-context": app(
        ECHO.replace("context", "context: QueryContext"),
        imports="from compute_modules.context import QueryContext\n",
    ),
    "typed-dict": app(
        "class Order(TypedDict):\n    code: str\n    lines: NotRequired[list[str]]\n\n\n@function\ndef take(context, event: Order) -> int:\n    return len(event['code'])\n",
        imports="from typing import NotRequired, TypedDict\n",
    ),
    "nested": app(
        "@dataclass\nclass Line:\n    price: float\n\n\n@dataclass\nclass Order:\n    lines: list[Line]\n\n\n@function\ndef total(context, event: Order) -> float:\n    return sum(line.price for line in event.lines)\n"
    ),
    "old-typing": app(
        "@dataclass\nclass Hit:\n    score: float\n\n\n@function\ndef find(context, event: Query) -> List[Hit]:\n    return [Hit(0.5)]\n",
        imports="from typing import List\n",
    ),
    "dates-and-maps": app(
        "@dataclass\nclass Visit:\n    day: date\n    at: datetime\n    marks: dict[str, float]\n    note: str | None = None\n\n\n@function\ndef late(context, event: Visit) -> dict[str, bool]:\n    return {'late': event.at.hour > 17}\n",
        imports="from datetime import date, datetime\n",
    ),
    "longs": app(
        "@dataclass\nclass Big:\n    number: Long\n\n\n@function\ndef half(context, event: Big) -> Long:\n    return Long(event.number // 2)\n",
        imports="from compute_modules.function_registry.types import Long\n",
    ),
    "streaming": app(
        "@function(streaming=True)\ndef words(context, event: Query) -> Iterable[str]:\n    yield from event.text.split()\n",
        imports="from collections.abc import Iterable\n",
    ),
    "streamed-dicts": app(
        "class Word(TypedDict):\n    word: str\n\n\n@function(streaming=True)\ndef words(context, event: Query) -> list[Word]:\n    for word in event.text.split():\n        yield {'word': word}\n",
        imports="from typing import TypedDict\n",
    ),
    "module-alias": {
        **AROUND,
        "src/app.py": "import dataclasses as dc\nimport signal\nimport sys\n\nimport compute_modules.startup as sdk\nfrom compute_modules import annotations as cm\n\n"
        "import atexit\n\natexit.unregister(sdk.start_compute_module)\n\n\n@dc.dataclass(frozen=True)\nclass Query:\n    text: str\n\n\n@cm.function\ndef echo(_, event: Query) -> str:\n    return event.text\n\n\n"
        "if __name__ == '__main__':\n    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n    sdk.start_compute_module(sdk.ConcurrencyType.THREAD_POOL)\n",
    },
    "add-functions": {
        **AROUND,
        "src/app.py": "import signal\nimport sys\nfrom dataclasses import dataclass\n\nfrom compute_modules import ConcurrencyType, add_functions, start_compute_module\n\n\n@dataclass\nclass Query:\n    text: str\n\n\ndef one(context, event: Query) -> str:\n    return event.text\n\n\ndef two(context, event: Query) -> int:\n    return len(event.text)\n\n\nadd_functions(one, two)\n\n"
        "if __name__ == '__main__':\n    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n    start_compute_module(ConcurrencyType.THREAD_POOL)\n",
    },
    "added-in-main": {
        **AROUND,
        "src/app.py": "import signal\nimport sys\nfrom dataclasses import dataclass\n\nfrom compute_modules.function_registry.function_registry import add_function\nfrom compute_modules.startup import ConcurrencyType, start_compute_module\n\n\n@dataclass\nclass Valve:\n    name: str\n\n\ndef open_valve(context, event: Valve) -> str:\n    return event.name\n\n\n"
        "if __name__ == '__main__':\n    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n    add_function(open_valve)\n    start_compute_module(ConcurrencyType.THREAD_POOL)\n",
    },
    "assets-in-a-class": app(
        "class Assets:\n    def __init__(self) -> None:\n        self.words = Path(__file__).with_name('words.txt').read_text().split()\n\n    def find(self, text: str) -> list[str]:\n        return [word for word in self.words if text in word]\n\n\nASSETS = Assets()\n\n\n@function\ndef search(context, event: Query) -> list[str]:\n    return ASSETS.find(event.text)\n",
        imports="from pathlib import Path\n",
        more={"src/words.txt": "a\nb\n"},
    ),
    "model-at-the-top": app(
        "MODEL = SentenceTransformer('/app/model')\n\n\n@function\ndef embed(context, event: Query) -> list[float]:\n    return MODEL.encode(event.text).tolist()\n",
        imports="from sentence_transformers import SentenceTransformer\n",
        needs="sentence-transformers==5.1.2\n",
        more={"Dockerfile": DOCKERFILE.replace("COPY req", TORCH_FOR_CPU + "COPY req", 1)},
    ),
    "model-on-first-use": app(
        "@lru_cache(maxsize=1)\ndef words() -> set[str]:\n    with open('words.txt') as file:\n        return set(file)\n\n\n@function\ndef known(context, event: Query) -> bool:\n    return event.text in words()\n",
        imports="from functools import lru_cache\n",
    ),
    "lazy-global": app(
        "_WORDS: list[str] = []\nTABLE = None\n\n\ndef table() -> str:\n    global TABLE\n    if TABLE is None:\n        TABLE = open('words.txt').read()\n    return TABLE\n\n\n@function\ndef known(context, event: Query) -> bool:\n    return event.text in table()\n"
    ),
    "package": app(
        ECHO,
        imports="from halls import flow, level\n",
        more={
            "src/halls/__init__.py": "",
            "src/halls/records.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass Reading:\n    litres: float\n    seconds: float\n",
            "src/halls/flow.py": "from compute_modules.annotations import function\n\nfrom .records import Reading\n\n\n@function\ndef flow_rate(context, event: Reading) -> float:\n    return event.litres / event.seconds\n",
            "src/halls/level.py": "from compute_modules.annotations import function\n\nfrom halls import records\n\n\n@function\ndef level(context, event: records.Reading) -> float:\n    return event.litres\n",
        },
    ),
    "re-exported": app(
        "@function\ndef take(context, event: Order) -> list[Line]:\n    return event.lines\n",
        imports="from shapes import Line, Order\n",
        more={
            "src/shapes/__init__.py": "from shapes.order import Line, Order\n\n__all__ = ['Line', 'Order']\n",
            "src/shapes/order.py": "from dataclasses import dataclass, field\n\n\n@dataclass\nclass Line:\n    price: float\n\n\n@dataclass\nclass Order:\n    lines: list[Line] = field(default_factory=list)\n",
        },
    ),
    "inherited": app(
        "@dataclass\nclass Base:\n    code: str\n\n\n@dataclass\nclass Derived(Base):\n    price: float\n\n\n@function\ndef take(context, event: Derived) -> Derived:\n    return event\n"
    ),
    "alias-of-a-type": app("Vector = list[float]\n\n\n@function\ndef embed(context, event: Query) -> Vector:\n    return [0.5] * event.limit\n"),
    "imports-of-all-names": app(
        "@dataclass\nclass Shelf:\n    rows: List[str] = field(default_factory=list)\n    note: Optional[str] = None\n\n\n@function\ndef rows(context, event: Shelf) -> List[str]:\n    return first(event.rows)\n",
        imports="from dataclasses import *\nfrom typing import *\nfrom shelves import *\n",
        more={"src/shelves.py": "def first(rows: list[str]) -> list[str]:\n    return rows[:1]\n"},
    ),
    "another-name": app(
        "def exposed(**options):\n    return function(**options)\n\n\n@exposed()\ndef echo(context, event: Query) -> str:\n    return event.text\n"
    ),
    "started-in-another-file": {
        **AROUND,
        "src/app.py": "import halls  # noqa: F401\nfrom runner import main\n\nif __name__ == '__main__':\n    main()\n",
        "src/halls.py": SDK.replace("import signal\nimport sys\n", "").replace("ConcurrencyType, ", "") + RECORD + "\n" + ECHO,
        "src/runner.py": "import signal\nimport sys\n\nfrom compute_modules.startup import ConcurrencyType, start_compute_module\n\n\ndef main() -> None:\n    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n    start_compute_module(ConcurrencyType.THREAD_POOL)\n",
    },
    "kept-results": app(
        "KNOWN: dict[str, str] = {}\nTABLE = None\n\n\ndef table() -> dict[str, str]:\n    global TABLE\n    TABLE = TABLE or {'a': 'b'}\n    return TABLE\n\n\n@function\ndef upper(context, event: Query) -> str:\n    if (known := KNOWN.get(event.text)) is not None:\n        return known\n    KNOWN[event.text] = table().get(event.text, '')\n    return KNOWN[event.text]\n"
    ),
    "token-that-expires": app(
        "class Token:\n    def __init__(self) -> None:\n        self.value, self.until = '', 0.0\n\n    def get(self) -> str:\n        if time.monotonic() >= self.until:\n            self.value, self.until = 'a', time.monotonic() + 60\n        return self.value\n\n\nTOKEN = Token()\n\n\n@function\ndef echo(context, event: Query) -> str:\n    return TOKEN.get()\n",
        imports="import time\n",
    ),
    "arrays": app(
        "@function\ndef mean(context, event: Query) -> float:\n    sizes = np.asarray([len(word) for word in event.text.split()], dtype=np.float32)\n    return sizes.mean().item()\n\n\n@function\ndef sizes(context, event: Query) -> list[float]:\n    found = np.zeros(event.limit)\n    return [found.sum(), *found.tolist()]\n",
        imports="import numpy as np\n",
        needs="numpy==2.3.4\n",
    ),
    "async-inside": app(
        "async def fetch(text: str) -> str:\n    await asyncio.sleep(0)\n    return text\n\n\n@function\ndef echo(context, event: Query) -> str:\n    return asyncio.run(fetch(event.text))\n",
        imports="import asyncio\n",
    ),
    "numbers-converted": app(
        "@function\ndef mean(context, event: Query) -> float:\n    return float(np.float32(len(event.text)) / 2)\n",
        imports="import numpy as np\n",
        needs="numpy==2.3.4\n",
    ),
    "raises": app(
        "@function\ndef half(context, event: Query) -> float:\n    try:\n        return event.limit / 2\n    except Exception:\n        log.exception('no half')\n        raise\n",
        imports="import logging\n\nlog = logging.getLogger(__name__)\n",
    ),
    "expected-failure": app(
        "@function\ndef number(context, event: Query) -> list[int]:\n    try:\n        return [int(event.text)]\n    except ValueError:\n        return []\n"
    ),
    "log-to-stderr": app(
        ECHO, imports="import logging\nimport sys\n\nlogging.basicConfig(level=logging.INFO, stream=sys.stderr)\nlogging.info('starting')\n"
    ),
    "writes-a-file": app(
        "@function\ndef keep(context, event: Query) -> str:\n    with tempfile.NamedTemporaryFile('w') as file:\n        file.write(event.text)\n    with open(f'/tmp/{event.limit}', 'w') as note:\n        note.write(event.text)\n    return event.text\n",
        imports="import tempfile\n",
    ),
    "locks": app(
        "LOCK = threading.Lock()\nSEEN = ('a', 'b')\n\n\n@function\ndef known(context, event: Query) -> bool:\n    with LOCK:\n        found = list(SEEN)\n        found.append(event.text)\n        return len(set(found)) < len(found)\n",
        imports="import threading\n",
    ),
    "ontology-edits": app(
        "class AddObject: ...\n\n\nclass ModifyObject: ...\n\n\nclass DeleteObject: ...\n\n\nclass AddLink: ...\n\n\nclass RemoveLink: ...\n\n\nEdit = Union[AddObject, ModifyObject, DeleteObject, AddLink, RemoveLink]\n\n\n@function(edits=[])\ndef change(context, event: Query) -> list[Edit]:\n    return []\n",
        imports="from typing import Union\n",
    ),
    "no-inputs": app("@dataclass\nclass Nothing:\n    pass\n\n\n@function\ndef version(context, event: Nothing) -> str:\n    return '1'\n"),
    "written-init": app(
        "class Order:\n    code: str\n\n    def __init__(self, code: str):\n        self.code = code\n\n\n@function\ndef take(context, event: Order) -> str:\n    return event.code\n"
    ),
    "without-src": {
        "app.py": app(ECHO)["src/app.py"],
        "requirements.txt": AROUND["requirements.txt"],
        ".dockerignore": ".git\n",
        "Dockerfile": DOCKERFILE.replace("COPY src .", "COPY app.py ."),
        "tests/test_app.py": "def test_one():\n    print('one')\n",
    },
    "entry-script": {
        **app(ECHO),
        "Dockerfile": DOCKERFILE.replace('CMD ["python", "app.py"]', 'ENTRYPOINT ["/app/entry.sh"]').replace("COPY src .", "COPY src .\nCOPY --chmod=0755 entry.sh ."),
        "entry.sh": "#!/bin/sh\nset -e\nexec python -m app\n",
    },
    "user-and-group": {**app(ECHO), "Dockerfile": DOCKERFILE.replace("USER 5000", "USER 5000:5000").replace("linux/amd64", "amd64")},
    "switched-off": app(
        "@function\ndef take(context, event) -> str:  # cm: ignore[CM204] the caller is older than the types\n    return event['text']\n"
    ),
    "client-without-an-sdk": {
        **AROUND,
        "requirements.txt": "requests==2.32.5\n",
        "src/app.py": "import os\nimport signal\nimport sys\n\nimport requests\n\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nJOB = f\"https://{os.environ['RUNTIME_HOST']}:{os.environ['RUNTIME_PORT']}{os.environ['GET_JOB_PATH']}\"\nwith open(os.environ['MODULE_AUTH_TOKEN']) as file:\n    TOKEN = file.read()\nwhile True:\n    job = requests.get(JOB, headers={'Module-Auth-Token': TOKEN}, verify=os.environ['DEFAULT_CA_PATH'])\n    print(job.status_code)\n",
    },
    "typescript": {"app.mjs": "import { ComputeModule } from '@palantir/compute-module';\n", "package.json": "{}\n"},
}  # fmt: skip
