"""Work in the wrong place: what a handler does again on each call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from foundry_cm.checks.calls import Visit, visits
from foundry_cm.checks.changes import changes
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.module import Module
from foundry_cm.checks.program import Definition, Program
from foundry_cm.checks.registry import check
from foundry_cm.checks.rules.types import parts
from foundry_cm.checks.shown import bad, good
from foundry_cm.checks.source import Source, own_nodes

_MODELS = {
    "sentence_transformers.SentenceTransformer", "sentence_transformers.CrossEncoder", "ultralytics.YOLO",
    "ultralytics.models.YOLO", "transformers.pipeline", "torch.hub.load", "onnxruntime.InferenceSession",
    "faiss.read_index", "spacy.load", "whisper.load_model", "easyocr.Reader", "paddleocr.PaddleOCR",
    "keras.models.load_model", "tensorflow.keras.models.load_model", "tensorflow.saved_model.load",
    "fasttext.load_model", "timm.create_model", "xgboost.Booster", "lightgbm.Booster", "vllm.LLM",
    "llama_cpp.Llama", "huggingface_hub.snapshot_download", "huggingface_hub.hf_hub_download",
    "mlflow.pyfunc.load_model", "fastembed.TextEmbedding", "gliner.GLiNER",
}  # fmt: skip
_DATA = {
    "open", "pickle.load", "joblib.load", "torch.load", "torch.jit.load", "numpy.load", "numpy.loadtxt",
    "numpy.genfromtxt", "safetensors.torch.load_file", "urllib.request.urlopen",
    "urllib.request.urlretrieve", "pyarrow.parquet.read_table", "pyarrow.csv.read_csv", "PIL.Image.open",
    "cv2.imread", "sqlite3.connect", "joblib.Memory",
}  # fmt: skip
_READS = re.compile(r"^(pandas|polars|geopandas)\.(read_|scan_)\w+$")
NETWORK = re.compile(
    r"^(requests|httpx)\.(get|post|put|patch|delete|head|request|stream)$|^urllib\.request\.url\w+$"
)
_BASE64 = re.compile(r"(^|_)(base64|b64)(_|$)", re.IGNORECASE)


def calls_of(module: Module) -> Iterator[tuple[str, Visit]]:
    """Every function of the owner's that runs for a call, with the name of the handler."""
    for handler in module.program.handlers:
        for visit in visits(module.program, handler.source, handler.node, handler.method):
            if module.is_owned(visit.source):
                yield handler.node.name, visit


@check(
    "CM241",
    "load-in-handler",
    severity=Severity.WARNING,
    bad=(
        bad(
            "@function\ndef embed(context, event: Query) -> list[float]:\n    model = SentenceTransformer('all-MiniLM-L6-v2')  #<\n    return model.encode(event.text).tolist()\n",
            imports="from sentence_transformers import SentenceTransformer\n",
        ),
        bad(
            "def rows() -> list[str]:\n    with open('parts.csv') as file:  #<\n        return file.readlines()\n\n\n@function\ndef find(context, event: Query) -> list[str]:\n    return [row for row in rows() if event.text in row]\n"
        ),
        bad(
            "@function\ndef rate(context, event: Query) -> float:\n    return requests.get('https://example.com/rates').json()[event.text]  #<\n",
            imports="import requests\n",
        ),
        bad(
            "@function\ndef find(context, event: Query) -> int:\n    return len(pd.read_parquet('parts.parquet'))  #<\n",
            imports="import pandas as pd\n",
        ),
        bad(
            "@function\ndef note(context, event: Query) -> str:\n    return open('a', 'rb').read() + open('a', encoding='ascii').read()  #<\n"
        ),
        bad(
            "class Index:\n    def __init__(self, text: str):\n        self.rows = open('rows.csv').read()  #<\n        self.own = open(text).read()\n\n\n@function\ndef find(context, event: Query) -> int:\n    return len(Index(event.text).rows)\n"
        ),
        bad(
            "class Index:\n    def rows(self) -> str:\n        return open('rows.csv').read()  #<\n\n\nINDEX = Index()\n\n\n@function\ndef find(context, event: Query) -> str:\n    return INDEX.rows()\n"
        ),
        bad(
            "@function\ndef note(context, event: Query) -> str:\n    return Path('notes.txt').read_text()  #<\n",
            imports="from pathlib import Path\n",
        ),
        bad(
            "@function\ndef note(context, event: Query) -> str:\n    with (HERE / 'notes.txt').open(encoding='utf-8') as file:  #<\n        return file.read()\n",
            imports="from pathlib import Path\n\nHERE = Path('/app')\n",
        ),
        bad(
            "@function\ndef rate(context, event: Query) -> float:\n    return SESSION.get('https://example.com/rates').json()[event.text]  #<\n",
            imports="import requests\n\nSESSION = requests.Session()\n",
        ),
        bad(
            "class Rules:\n    def rows(self) -> str:\n        return open('rules.csv').read()  #<\n\n    def find(self, text: str) -> bool:\n        return text in self.rows()\n\n\n@function\ndef find(context, event: Query) -> bool:\n    rules = Rules()\n    return rules.find(event.text)\n"
        ),
        bad(
            "@function\ndef label(context, event: Query) -> str:\n    model = AutoModel.from_pretrained('bert')  #<\n    return model(event.text)\n",
            imports="from transformers import AutoModel\n",
        ),
    ),
    good=(
        good(
            "MODEL = SentenceTransformer('all-MiniLM-L6-v2')\n\n\n@function\ndef embed(context, event: Query) -> list[float]:\n    return MODEL.encode(event.text).tolist()\n",
            imports="from sentence_transformers import SentenceTransformer\n",
        ),
        good(
            "@function\ndef fetch(context, event: Query) -> str:\n    return requests.get(f'https://example.com/{event.text}').text\n",
            imports="import requests\n",
        ),
        good(
            "MODEL = None\n\n\n@function\ndef embed(context, event: Query) -> list[float]:\n    global MODEL\n    if MODEL is None:\n        MODEL = SentenceTransformer('all-MiniLM-L6-v2')\n    return MODEL.encode(event.text).tolist()\n",
            imports="from sentence_transformers import SentenceTransformer\n",
        ),
        good(
            "class Index:\n    def __init__(self):\n        self.rows = open('rows.csv').read()\n        self.more = None\n\n    def find(self, text: str) -> bool:\n        if self.more is None:\n            self.more = open('more.csv').read()\n        return text in self.rows\n\n\nINDEX = Index()\n\n\n@function\ndef find(context, event: Query) -> bool:\n    return INDEX.find(event.text)\n"
        ),
        good(
            "@function\ndef keep(context, event: Query) -> str:\n    with tempfile.TemporaryDirectory() as folder:\n        path = f'{folder}/a'\n        return open(path).read()\n",
            imports="import tempfile\n",
        ),
        good(
            "MODEL = None\n\n\ndef model() -> object:\n    global MODEL\n    if MODEL is not None:\n        return MODEL\n    MODEL = SentenceTransformer('all-MiniLM-L6-v2')\n    return MODEL\n\n\n@function\ndef embed(context, event: Query) -> list[float]:\n    return model().encode(event.text).tolist()\n",
            imports="from sentence_transformers import SentenceTransformer\n",
        ),
        good(
            "@function\ndef keep(context, event: Query) -> str:\n    with open('a', 'w') as file, open('b', mode='a') as more:\n        file.write(event.text)\n        more.write(event.text)\n    return ''\n"
        ),
        good(
            "@cache\ndef rows() -> list[str]:\n    with open('parts.csv') as file:\n        return file.readlines()\n\n\n@function\ndef find(context, event: Query) -> list[str]:\n    return rows()\n",
            imports="from functools import cache\n",
        ),
    ),
)
def load_in_handler(module: Module) -> Iterator[Finding]:
    """A model, an index or a file that is loaded on each call.

    What a handler does, it does again for every call. A model that loads in ten seconds makes each call
    take ten seconds, and some of them reach Foundry's limit. What depends on the event, and what is
    kept after the first call, is left alone. A model is an error, data a warning.
    """
    for name, visit in calls_of(module):
        once = visit.once()
        for call in own_nodes(visit.node):
            if not isinstance(call, ast.Call) or call in once:
                continue
            target = module.program.dotted(visit.source, call.func)
            model = target in _MODELS or target.endswith(".from_pretrained")
            if model or (_is_data(module.program, visit, call, target) and not visit.depends(call)):
                shown = ast.unparse(call.func)
                message = f"{shown}() runs on each call of {name}, and gives the same each time"
                fix = "Load it once, at the top of the file, and only read it in the handler."
                severity = Severity.ERROR if model else None
                yield Finding(message, visit.source.path, fix, call.lineno, severity)


def _is_data(program: Program, visit: Visit, call: ast.Call, target: str) -> bool:
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("read_text", "read_bytes"):
        return True
    opens_path = (
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "open"
        and _is_path(program, visit.source, call.func.value)
    )
    if target == "open" or opens_path:
        mode = [
            *(call.args[:1] if opens_path else call.args[1:2]),
            *(key.value for key in call.keywords if key.arg == "mode"),
        ]
        return not any(
            isinstance(m, ast.Constant) and set(str(m.value)) & set("wax+") for m in mode
        )
    if target in _DATA or _READS.match(target) or NETWORK.match(target):
        return True
    return bool(NETWORK.match(_of_session(program, visit.source, call)))


def _is_path(program: Program, source: Source, value: ast.expr) -> bool:
    """Whether it is a path of pathlib: made here, or at the top of a file."""
    while isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div):
        value = value.left
    found = program.find(source, value)
    if (
        isinstance(found, Definition)
        and found.value is not None
        and not isinstance(found.value, ast.Name)
    ):
        return _is_path(program, found.source, found.value)
    return isinstance(value, ast.Call) and program.dotted(source, value.func) == "pathlib.Path"


def _of_session(program: Program, source: Source, call: ast.Call) -> str:
    """A call of a session at the top of a file, as if it were made without one: `requests.get`."""
    if not isinstance(call.func, ast.Attribute):
        return ""
    found = program.find(source, call.func.value)
    made = found.value if isinstance(found, Definition) else None
    if not isinstance(made, ast.Call) or not isinstance(found, Definition):
        return ""
    target = program.dotted(found.source, made.func)
    is_session = target in ("requests.Session", "requests.session", "httpx.Client")
    return f"{target.partition('.')[0]}.{call.func.attr}" if is_session else ""


@check(
    "CM246",
    "state-between-calls",
    severity=Severity.WARNING,
    bad=(
        bad("SEEN: list[str] = []\n\n\n@function\ndef count(context, event: Query) -> int:\n    SEEN.append(event.text)  #<\n    return len(SEEN)\n"),
        bad("TOTAL = 0\n\n\n@function\ndef count(context, event: Query) -> int:\n    global TOTAL\n    TOTAL += 1  #<\n    return TOTAL\n"),
        bad("LAST = defaultdict(int)\n\n\n@function\ndef count(context, event: Query) -> int:\n    LAST.update({event.text: 1})  #<\n    return len(LAST)\n", imports="from collections import defaultdict\n"),
        bad("class Stats:\n    calls = 0\n\n\nSTATS = Stats()\n\n\n@function\ndef count(context, event: Query) -> int:\n    STATS.calls += 1  #<\n    return STATS.calls\n"),
        bad("class Stats:\n    def __init__(self):\n        self.calls = 0\n\n    def hit(self) -> int:\n        self.calls += 1  #<\n        return self.calls\n\n\nSTATS = Stats()\n\n\n@function\ndef count(context, event: Query) -> int:\n    return STATS.hit()\n"),
        bad("NUMBERS = itertools.count()\n\n\n@function\ndef count(context, event: Query) -> int:\n    return next(NUMBERS)  #<\n", imports="import itertools\n"),
        bad("def add(text: str, seen: list[str] = []) -> int:\n    seen.append(text)  #<\n    return len(seen)\n\n\n@function\ndef count(context, event: Query) -> int:\n    return add(event.text)\n"),
        bad("@function\ndef count(context, event: Query) -> int:\n    SEEN.append(event.text)  #<\n    shared.LAST = event.text  #<\n    return len(SEEN)\n", imports="import shared\nfrom shared import SEEN\n", files={"src/shared.py": "SEEN: list[str] = []\nLAST = ''\n"}),
        bad("LAST = {}\n\n\ndef keep(text: str) -> None:\n    LAST['text'] = text  #<\n\n\n@function\ndef echo(context, event: Query) -> str:\n    keep(event.text)\n    return event.text\n"),
    ),
    good=(
        good("SEEN: list[str] = []\n\n\n@function\ndef count(context, event: Query) -> int:\n    SEEN = []\n    SEEN[0] = event.text\n    SEEN.append(event.text)\n    return len(SEEN)\n"),
        good("@function\ndef count(context, event: Query) -> int:\n    found = {}\n    found['a'] = event.text\n    return len(found)\n"),
        good("OWN = threading.local()\n\n\n@function\ndef count(context, event: Query) -> int:\n    OWN.text = event.text\n    event.text = ''\n    return 1\n", imports="import threading\n"),
        good("SEEN = Path('a')\n\n\n@function\ndef count(context, event: Query) -> int:\n    SEEN.remove(event.text)\n    return 1\n", imports="from pathlib import Path\n"),
        good("SEEN: list[str] = []\n\n\ndef add(SEEN: list[str]) -> None:\n    SEEN.append('a')\n\n\n@function\ndef count(context, event: Query) -> int:\n    found = [event.text]\n    add(found)\n    return len(found)\n"),
        good("KNOWN: dict[str, str] = {}\n\n\n@function\ndef upper(context, event: Query) -> str:\n    if event.text not in KNOWN:\n        KNOWN[event.text] = event.text.upper()\n    return KNOWN[event.text]\n"),
        good("MODEL = None\n\n\n@function\ndef echo(context, event: Query) -> str:\n    global MODEL\n    MODEL = MODEL or str()\n    return MODEL\n"),
        good("KNOWN: dict[str, str] = {}\n\n\n@function\ndef upper(context, event: Query) -> str:\n    try:\n        return KNOWN[event.text]\n    except KeyError:\n        KNOWN[event.text] = event.text.upper()\n    return KNOWN[event.text]\n"),
        good("KNOWN: dict[str, str] = {}\n\n\n@function\ndef upper(context, event: Query) -> str:\n    if (known := KNOWN.get(event.text)) is not None:\n        return known\n    KNOWN[event.text] = event.text.upper()\n    return KNOWN[event.text]\n"),
        good("TOKEN, UNTIL = '', 0.0\n\n\n@function\ndef token(context, event: Query) -> str:\n    global TOKEN, UNTIL\n    if time.time() > UNTIL:\n        TOKEN, UNTIL = event.text, time.time() + 60\n    return TOKEN\n", imports="import time\n"),
        good("class Stats:\n    def __init__(self):\n        self.calls = 0\n\n    def hit(self) -> int:\n        self.calls += 1\n        return self.calls\n\n\n@function\ndef count(context, event: Query) -> int:\n    return Stats().hit()\n"),
        good("WORDS = ['a']\n\n\n@function\ndef count(context, event: Query) -> int:\n    found = []\n    found.append(event.text)\n    return len(WORDS + found)\n"),
    ),
)  # fmt: skip
def state(module: Module) -> Iterator[Finding]:
    """A handler that changes what lies at the top of a file.

    Each replica, and with the SDK's default each worker, has its own copy. Two calls that follow each
    other may see different ones. What only keeps a result that can be made again is left alone.
    """
    for name, visit in calls_of(module):
        for line, changed in changes(module.program, visit):
            message = f"{name} changes {changed}, which each replica has its own copy of"
            fix = "Keep it in Foundry, such as in a dataset, or give it to the caller and back."
            yield Finding(message, visit.source.path, fix, line)


@check(
    "CM247",
    "payload-in-base64",
    severity=Severity.WARNING,
    bad=(
        bad("@dataclass\nclass Photo:\n    image_base64: str  #<\n\n\n@function\ndef look(context, event: Photo) -> str:\n    return ''\n"),
        bad("@function\ndef look(context, event: Query) -> int:\n    return len(base64.b64decode(event.text))  #<\n", imports="import base64\n"),
        # One payload is told once: at its field, or where it is decoded.
        bad(
            "@dataclass\nclass Photo:\n    image_b64: str  #<\n\n\n@function\ndef look(context, event: Photo) -> int:\n    return len(base64.b64decode(event.image_b64))\n",
            imports="import base64\n",
        ),
        bad(
            "@dataclass\nclass Photo:\n    image_b64: str  #<\n\n\n@function\ndef look(context, event: Photo) -> int:\n    return 1\n\n\n"
            "@function\ndef see(context, event: Query) -> int:\n    return len(base64.standard_b64decode(event.text))  #<\n",
            imports="import base64\n",
        ),
    ),
    good=(
        good(),
        good("@function\ndef look(context, event: Query) -> int:\n    return len(base64.b64decode('aa'))\n", imports="import base64\n"),
        good("@function\ndef look(context, event: Query) -> int:\n    return len(zlib.b64decode(event.text))\n", imports="import zlib\n"),
        good("@function\ndef look(context, event: Query) -> int:\n    return len(base64.b85decode(event.text))\n", imports="import base64\n"),
    ),
)  # fmt: skip
def base64_payload(module: Module) -> Iterator[Finding]:
    """Content that goes through the call as base64.

    Calls have a limit of size, and base64 makes content a third larger. Callers can send a reference,
    such as a media item or a file of a dataset, and many of them in one call.
    """
    fix = (
        "Send a reference, such as a media item or a path in a dataset, and read it in the module."
    )
    told = set()
    for part in parts(module):
        field = part.owner.rpartition(".")[2]
        if part.hint.kind == "string" and _BASE64.search(field):
            told.add(part.handler.node.name)
            path, line = part.hint.place
            yield Finding(f"{part.owner} carries content as base64", path, fix, line)
    for name, visit in calls_of(module):
        for call in own_nodes(visit.node) if name not in told else ():
            if isinstance(call, ast.Call) and visit.depends(call):
                target = module.program.dotted(visit.source, call.func)
                if target.startswith("base64.") and target.endswith(("b64decode", "b64encode")):
                    message = f"{name} carries content as base64"
                    yield Finding(message, visit.source.path, fix, call.lineno)
