"""Which library an import comes from, and what a library brings along.

What is installed beside this tool says so itself. The tables are for what is not installed, as on a
laptop that runs `cm` by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from typing import cast

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

# Imports whose library has another name. (The rest have their own: import numpy is numpy.)
_LIBRARIES: dict[str, str] = {
    "Crypto": "pycryptodome",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow pillow-simd",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "compute_modules": "foundry-compute-modules",
    "cv2": "opencv-python opencv-python-headless opencv-contrib-python opencv-contrib-python-headless "
    "ultralytics ultralytics-opencv-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "external_systems": "external-systems",
    "faiss": "faiss-cpu faiss-gpu faiss-gpu-cu12",
    "fitz": "pymupdf",
    "foundry_sdk": "foundry-platform-sdk",
    "git": "gitpython",
    "google": "google-cloud-storage google-cloud-bigquery google-genai google-auth protobuf",
    "grpc": "grpcio",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "magic": "python-magic",
    "markdown": "markdown",
    "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart",
    "mysql": "mysql-connector-python",
    "MySQLdb": "mysqlclient",
    "odf": "odfpy",
    "onnxruntime": "onnxruntime onnxruntime-gpu",
    "osgeo": "gdal",
    "paddle": "paddlepaddle paddlepaddle-gpu",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2 psycopg2-binary",
    "psycopg": "psycopg psycopg-binary",
    "pythonjsonlogger": "python-json-logger",
    "rest_framework": "djangorestframework",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "socks": "pysocks",
    "tensorflow": "tensorflow tensorflow-cpu tensorflow-gpu",
    "ultralytics": "ultralytics ultralytics-opencv-headless",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "whisper": "openai-whisper",
    "win32api": "pywin32",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
# What libraries bring along that code imports too.
_BRINGS: dict[str, str] = {
    "accelerate": "torch numpy psutil pyyaml huggingface-hub safetensors packaging",
    "aiohttp": "yarl multidict attrs frozenlist aiosignal",
    "anthropic": "httpx pydantic anyio typing-extensions",
    "boto3": "botocore s3transfer jmespath python-dateutil urllib3",
    "botocore": "jmespath python-dateutil urllib3",
    "easyocr": "torch torchvision numpy scipy opencv-python-headless pillow scikit-image pyyaml",
    "external-systems": "requests urllib3",
    "faiss-cpu": "numpy packaging",
    "fastapi": "starlette pydantic typing-extensions",
    "flask": "werkzeug jinja2 click itsdangerous markupsafe blinker",
    "foundry-compute-modules": "requests urllib3 pyyaml",
    "foundry-platform-sdk": "pydantic httpx annotated-types typing-extensions",
    "geopandas": "numpy pandas shapely pyproj pyogrio packaging",
    "httpx": "httpcore anyio certifi idna",
    "jinja2": "markupsafe",
    "langchain-core": "pydantic pyyaml tenacity packaging typing-extensions",
    "lightgbm": "numpy scipy",
    "matplotlib": "numpy pillow packaging python-dateutil cycler pyparsing",
    "nltk": "click joblib regex tqdm",
    "onnxruntime": "numpy protobuf packaging",
    "onnxruntime-gpu": "numpy protobuf packaging",
    "openai": "httpx pydantic anyio tqdm typing-extensions",
    "openai-whisper": "torch numpy numba tiktoken tqdm",
    "opencv-contrib-python": "numpy",
    "opencv-contrib-python-headless": "numpy",
    "opencv-python": "numpy",
    "opencv-python-headless": "numpy",
    "pandas": "numpy python-dateutil pytz tzdata",
    "pydantic": "pydantic-core annotated-types typing-extensions",
    "pydantic-settings": "pydantic python-dotenv",
    "rasterio": "numpy affine attrs click",
    "requests": "urllib3 certifi idna charset-normalizer",
    "scikit-image": "numpy scipy pillow networkx imageio tifffile packaging",
    "scikit-learn": "numpy scipy joblib threadpoolctl",
    "scipy": "numpy",
    "seaborn": "matplotlib numpy pandas",
    "sentence-transformers": "transformers torch numpy scipy scikit-learn huggingface-hub pillow tqdm "
    "tokenizers safetensors pyyaml requests typing-extensions",
    "shapely": "numpy",
    "spacy": "numpy pydantic requests tqdm jinja2 typer packaging",
    "sqlmodel": "sqlalchemy pydantic",
    "starlette": "anyio",
    "statsmodels": "numpy pandas scipy patsy packaging",
    "tiktoken": "regex requests",
    "timm": "torch torchvision pyyaml huggingface-hub safetensors",
    "torch": "numpy sympy networkx jinja2 fsspec filelock typing-extensions",
    "torchvision": "torch numpy pillow",
    "transformers": "numpy huggingface-hub tokenizers safetensors pyyaml regex requests tqdm "
    "filelock packaging",
    "ultralytics": "torch torchvision numpy opencv-python pillow matplotlib scipy pandas psutil "
    "pyyaml requests polars",
    "ultralytics-opencv-headless": "torch torchvision numpy opencv-python-headless pillow matplotlib scipy pandas "
    "psutil pyyaml requests polars",
    "xarray": "numpy pandas packaging",
    "xgboost": "numpy scipy",
}


def libraries_of(top: str) -> set[str]:
    """The libraries that an import of this top-level name can come from."""
    return set(_LIBRARIES.get(top, "").split()) or {canonicalize_name(top)}


def imports_of(library: str) -> set[str]:
    """The top-level names that a library is known to have; none where that is not known."""
    named = {top for top, names in _LIBRARIES.items() if library in names.split()}
    return named | set(_installed_names(library))


@cache
def _installed_names(library: str) -> tuple[str, ...]:
    try:
        found = metadata.distribution(library)
    except metadata.PackageNotFoundError:
        return ()
    if listed := found.read_text("top_level.txt"):
        return tuple(listed.split())
    tops = {file.parts[0].removesuffix(".py") for file in found.files or () if file.suffix == ".py"}
    return tuple(top for top in tops if top.isidentifier())


@cache
def _brings(library: str, extras: frozenset[str]) -> tuple[tuple[str, frozenset[str]], ...] | None:
    """What a library asks for, each with its extras; None where that is not known."""
    try:
        asked = metadata.distribution(library).requires or []
    except metadata.PackageNotFoundError:
        known = _BRINGS.get(library)
        return known if known is None else tuple((name, frozenset()) for name in known.split())
    return tuple(_that_apply(asked, extras))


def _that_apply(
    asked: Iterable[str], extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    # The image's system, and not the one of this machine.
    linux = {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
    }
    environment = cast(dict[str, str], default_environment()) | linux
    for line in asked:
        try:
            found = Requirement(line)
        except InvalidRequirement:
            continue
        chosen = ({**environment, "extra": extra} for extra in (extras or {""}))
        if found.marker is None or any(found.marker.evaluate(one) for one in chosen):
            yield canonicalize_name(found.name), frozenset(found.extras)


def closure(wanted: Iterable[tuple[str, frozenset[str]]]) -> tuple[set[str], set[str]]:
    """All that gets installed with these libraries; then those of which it is not known what they bring."""
    found: set[str] = set()
    unknown: set[str] = set()
    left, seen = list(wanted), set()
    while left:
        library, extras = left.pop()
        if (library, extras) in seen:
            continue
        seen.add((library, extras))
        found.add(library)
        brings = _brings(library, extras)
        if brings is None:
            unknown.add(library)
        left += brings or ()
    return found, unknown
