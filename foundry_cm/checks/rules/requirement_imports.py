"""Requirements: what the code imports, and what the image installs for it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from packaging.utils import canonicalize_name

from foundry_cm.checks.distributions import closure, imports_of, libraries_of
from foundry_cm.checks.finding import Finding, Severity
from foundry_cm.checks.foreign import foreign
from foundry_cm.checks.module import Module
from foundry_cm.checks.registry import Bad, check
from foundry_cm.checks.requirements import Asked, Requirements, is_lock, is_template, requirements
from foundry_cm.checks.rules.requirements import (
    APP,
    CONDA,
    DOCKERFILE,
    SDK,
    SDK_RANGE,
    asking,
    conda,
    installing,
    poetry,
    project,
)

# Libraries that work without being imported: engines, drivers, servers, tools.
_UNIMPORTED = re.compile(
    r"build|hatch|hatchling|pdm|pipenv|pip-tools|poetry(-.*)?|uv|"
    r"accelerate|aiodns|asyncpg|boto3|brotli|cryptography|fastparquet|gunicorn|hf-(xet|transfer)|lxml|nvidia-.*"
    r"|numexpr|odfpy|openpyxl|onnxruntime.*|orjson|pip|protobuf|psycopg2?(-binary)?|pyarrow|pymysql|python-multipart"
    r"|safetensors|sentencepiece|setuptools|supervisor|tiktoken|timm|tokenizers|torch(vision|audio)?|tzdata|types-.*"
    r"|.*-stubs|ujson|uvicorn|uvloop|watchfiles|wheel|xlrd|xlsxwriter"
)  # fmt: skip

# What a pickled model is made of: reading it imports them, and no line of the code does.
_PICKLED = re.compile(
    r"catboost|category-encoders|dask|imbalanced-learn|lightgbm|numpy|pandas|scikit-.*|scipy|sklearn-.*|skorch"
    r"|statsmodels|xgboost"
)
_UNPICKLES = re.compile(
    r"(joblib|c?pickle|cloudpickle|dill|pickle5)\.(load|loads|Unpickler)|pandas\.read_pickle|torch\.load|mlflow\..*"
)


_POLARS = APP + "import polars\n"
_PIPFILE = f'[packages]\n{SDK} = "==0.34.0"\n'
_PIXI = (
    f'[dependencies]\npython = "3.12.*"\nnumpy = ">=2"\n\n[pypi-dependencies]\n{SDK} = "==0.34.0"\n'
)
_PIXI_IMAGE = "FROM ghcr.io/prefix-dev/pixi:0.59.0\n"
_CONDA_LOCK = f"package:\n- name: numpy\n  version: 2.1.0\n  manager: conda\n  platform: linux-64\n- name: {SDK}\n  version: 0.34.0\n  manager: pip\n  platform: linux-64\n"
_RECIPE = f"{{% set version = '1' %}}\npackage:\n  version: {{{{ version }}}}\nrequirements:\n  run:\n  - numpy  # [linux]\n  pip:\n  - {SDK_RANGE}\n"
_DEV = '[dependency-groups]\ndev = ["polars"]\n'

# Other checks look for them.
_OF_THE_SDK = {"compute_modules", "external_systems"}


@check(
    "CM306",
    "undeclared-import",
    bad=(
        Bad("src/app.py:2", asking(SDK_RANGE, app=APP + "import pandas as pd\n")),
        Bad(
            "src/shapes/area.py:2",
            asking(
                SDK_RANGE,
                "shapely",
                app=APP + "from shapes import area\n",
                **{"src/shapes/area.py": "import shapely\nfrom skimage.measure import label\n"},
            ),
        ),
        Bad(
            "src/app.py:3",
            asking(
                SDK_RANGE,
                "-r more.txt",
                app="try:\n    import json\n    import yaml, cv2\nexcept ValueError:\n    pass\n",
                **{"more.txt": "pyyaml\n", "Dockerfile": DOCKERFILE},
            ),
        ),
        Bad("src/app.py:2", asking(SDK_RANGE, app="import importlib\nimportlib.import_module('pandas.io')\nimportlib.import_module('.a', 'b')\n")),
        Bad("src/app.py:3", asking(SDK_RANGE, app="from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    import pandas\n")),
        Bad("src/app.py:2", asking(SDK_RANGE, app="with open('a') as file:\n    import pandas\n")),
        Bad(
            "src/app.py:2",
            {
                "Dockerfile": "FROM python:3.12\nCOPY pyproject.toml .\nRUN uv sync --locked\n",
                "pyproject.toml": f'[project]\nname = "m"\ndependencies = ["{SDK_RANGE}"]\n',
                "src/app.py": APP + "import polars\n",
            },
        ),
        Bad(
            "src/app.py:2",
            asking(
                SDK_RANGE,
                app=APP + "import polars\n",
                Dockerfile=DOCKERFILE.replace("pip install", "pip install --target /polars --upgrade"),
            ),
        ),
        Bad(
            "src/app.py:2",
            asking(
                "-r more.txt",
                app=APP + "import polars\n",
                Dockerfile=DOCKERFILE,
                **{
                    "a/requirements.txt": "polars\n",
                    "more.txt": f"-e git+https://a.io/x#egg={SDK}\n",
                },
            ),
        ),
        Bad(
            "src/app.py:2",
            {
                "pyproject.toml": f'[project]\nname = "m"\ndependencies = ["{SDK_RANGE}"]\n',
                "src/app.py": APP + "import numpy\n",
            },
        ),
        Bad("src/app.py:2", installing("poetry install --only main", _POLARS, pyproject__toml=poetry(f'{SDK} = "^0.34"\n[tool.poetry.group.dev.dependencies]\npolars = "*"'))),
        Bad("src/app.py:2", asking("--no-binary :all:", "--find-links /wheels", SDK_RANGE, app=_POLARS)),
        Bad("src/app.py:2", installing("if [ -f a.lock ]; then set -- -r a.lock; else set -- -r i.txt; fi; pip install \"$@\"", _POLARS, i__txt=f"{SDK_RANGE}\n")),
        Bad("src/app.py:2", installing("poetry install", _POLARS, pyproject__toml=poetry(f'{SDK} = "^0.34"'))),
        Bad("src/app.py:2", installing("pipenv sync", _POLARS, Pipfile=_PIPFILE + '[dev-packages]\npolars = "*"\n')),
        Bad("src/app.py:2", installing("uv sync --no-dev", _POLARS, pyproject__toml=project(SDK_RANGE, more=_DEV))),
        Bad("src/app.py:2", installing("pixi install --locked", _POLARS, _PIXI_IMAGE, pixi__toml=_PIXI)),
        Bad("src/app.py:2", {"pyproject.toml": project(SDK_RANGE, more='[tool.pixi.dependencies]\nnumpy = "*"\n'), "src/app.py": _POLARS}),
        Bad("src/app.py:2", installing("micromamba create -f conda-lock.yml", _POLARS, "FROM mambaorg/micromamba:2.3.0\n", **{"conda-lock__yml": _CONDA_LOCK})),
        Bad("src/app.py:2", {"conda_recipe/meta.yaml": _RECIPE, "src/app.py": _POLARS}),
        Bad("src/app.py:2", installing("conda env create", _POLARS, CONDA, environment__yml=conda("numpy", pip=SDK_RANGE))),
        Bad(
            "src/app.py:2",
            installing("pip install .", _POLARS, pyproject__toml=project(SDK_RANGE, more='[project.optional-dependencies]\nfast = ["polars"]\n')),
        ),
    ),
    good=(
        asking(SDK_RANGE, "pillow", app=APP + "import PIL.Image, os, json\nimport requests\n"),
        installing("uv sync", _POLARS, pyproject__toml=project(SDK_RANGE, more=_DEV)),
        installing("uv sync --all-groups --no-dev", _POLARS, pyproject__toml=project(SDK_RANGE, more=_DEV)),
        installing("pipenv install -d", _POLARS, Pipfile=_PIPFILE + '[dev-packages]\npolars = "*"\n'),
        installing("pixi install", APP + "import numpy\n", _PIXI_IMAGE, pixi__toml=_PIXI),
        installing("pixi install", _POLARS, _PIXI_IMAGE, pixi__toml=_PIXI + "\n[feature.fast.dependencies]\npolars = '*'\n"),
        {"pyproject.toml": project(SDK_RANGE, more='[tool.pixi.dependencies]\npolars = "*"\n'), "src/app.py": _POLARS},
        {"conda-lock.yml": _CONDA_LOCK, "src/app.py": APP + "import numpy\n"},
        {"conda_recipe/meta.yaml": _RECIPE, "src/app.py": APP + "import numpy\n"},
        installing("conda env create", APP + "import torch, cv2\n", CONDA, environment__yml=conda("pytorch::pytorch=2", "opencv", pip=SDK_RANGE)),
        installing("pip install foundry-compute-modules", APP + "import tqdm\n", "FROM condaforge/miniforge3:25.3\n"),
        asking(SDK_RANGE, app=APP + "import lib\n", Dockerfile=DOCKERFILE + "RUN pip install -e /lib\n"),
        asking(SDK_RANGE, app=APP + "import lib\n", Dockerfile=DOCKERFILE + "RUN pip install $LIBS ./lib\n"),
        asking(SDK_RANGE, app=APP + "import polars\n", Dockerfile=DOCKERFILE + "RUN pip install -t /x polars\n"),
        asking(SDK_RANGE, "-e ./lib", app=_POLARS),
        installing(f"pip install '{SDK_RANGE}' $LIBS", _POLARS),
        installing(f"pip install '{SDK_RANGE}' && uv sync", _POLARS, pyproject__toml='[project]\nname = "m"\n'),
        asking(SDK_RANGE, app=APP + "import polars\n", Dockerfile=DOCKERFILE + "RUN apt-get install python3-polars\n"),
        asking(SDK_RANGE, app=APP + "import polars\n", Dockerfile=DOCKERFILE + "RUN pip install -r /gone.txt\n"),
        {
            "pyproject.toml": f'[project]\nname = "m"\ndependencies = ["{SDK_RANGE}", "polars"]\n',
            "Dockerfile": "FROM python:3.12\nCOPY . .\nRUN pip install .[all]\n",
            "src/app.py": APP + "import polars\n",
        },
        asking(SDK_RANGE, app=APP + "import polars\n", Dockerfile=DOCKERFILE + "RUN pip install .\n"),
        asking(SDK_RANGE, "openai", "pydantic-settings", app=APP + "import httpx, pydantic\n"),
        asking(SDK_RANGE, app=APP + "try:\n    import pandas\nexcept ImportError:\n    pandas = None\n"),
        asking(
            SDK_RANGE,
            app="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n",
        ),
        asking(SDK_RANGE, app=APP + "import halls\nfrom . import level\n", **{"src/halls/a.py": ""}),
        asking(SDK_RANGE, app=APP + "import pandas\n", Dockerfile="FROM acme/runtime:4\n"),
        asking(SDK_RANGE, "./wheels/acme.whl", app=APP + "import acme\n"),
        asking(SDK_RANGE, app=APP + "import pandas\n", Dockerfile=DOCKERFILE + "RUN pip install pandas\n"),
        asking(SDK_RANGE, "acme-toolbox", app=APP + "import toolbox\n"),
        asking(SDK_RANGE, app=APP + "import os\nif os.environ.get('DEBUG'):\n    import debugpy\nimport __main__\n"),
        asking(SDK_RANGE, app="import sys\nif sys.version_info >= (3, 11):\n    import tomllib\nelse:\n    import tomli\n"),
        asking(SDK_RANGE, app="from importlib.util import find_spec\nHAS = find_spec('pandas')\nif HAS:\n    import pandas\n"),
        asking(SDK_RANGE, app="from contextlib import suppress as s\nwith s(Error):\n    import csv\n"),
        asking(SDK_RANGE, app="import contextlib\nwith contextlib.suppress(E):\n    import pandas\n"),
        {"src/app.py": APP + "import pandas\n"},
    ),
)  # fmt: skip
def undeclared_import(module: Module) -> Iterator[Finding]:
    """An import that no requirement provides.

    The library is on your laptop and not in the image: the module ends as it starts.
    """
    found = requirements(module)
    if not found or not found.is_whole:
        return
    missing = module.once(_missing)
    if not missing:
        return
    unnamed = [one.name for one in _unexplained(found, module) if not imports_of(one.name)]
    for path, line, top in missing:
        if any(_resemble(library, top) for library in unnamed):
            continue
        maybe = sorted({*unnamed, *found.unknown})
        where = _owned(found) or (found.paths[0] if found.paths else "the Dockerfile")
        yield Finding(
            f"No requirement provides {top}{f', unless {maybe[0]} does' if maybe else ''}",
            path,
            f"Add {sorted(libraries_of(top))[0]} to {where}.",
            line,
            Severity.WARNING if maybe else None,
        )


@check(
    "CM307",
    "unused-requirement",
    severity=Severity.WARNING,
    bad=(
        Bad("requirements.txt:2", asking(SDK_RANGE, "pandas>=2")),
        Bad("requirements.txt:1", asking("scikit-image", "shapely", app=APP + "import shapely\n")),
        Bad(
            "pyproject.toml:5",
            {
                "pyproject.toml": f'[project]\nname = "m"\ndependencies = [\n    "{SDK_RANGE}",\n'
                '    "polars",\n]\n',
                "src/app.py": APP,
            },
        ),
        Bad("pyproject.toml:4", installing("poetry install", pyproject__toml=poetry(f'{SDK} = "^0.34"\npolars = "^1"'))),
        Bad("Pipfile:3", installing("pipenv sync", Pipfile=_PIPFILE + 'polars = "*"\n')),
        Bad("environment.yml:5", installing("conda env create", base=CONDA, environment__yml=conda("pip", pip=f"{SDK_RANGE}\n      - polars"))),
    ),
    good=(
        asking(SDK_RANGE, "pyyaml", "pandas", "openpyxl", app=APP + "import yaml, pandas\n"),
        installing("pip install poetry && poetry install", pyproject__toml=poetry(f'{SDK} = "^0.34"')),
        installing("poetry install", pyproject__toml=poetry(f'{SDK} = "^0.34"\n[tool.poetry.group.dev.dependencies]\nruff = "*"')),
        installing("uv sync", pyproject__toml=project(SDK_RANGE, more=_DEV)),
        installing("conda env create", base=CONDA, environment__yml=conda("ffmpeg", "polars", pip=SDK_RANGE)),
        asking(SDK_RANGE, "pandas", "numpy<2", app=APP + "import pandas\n"),
        asking(SDK_RANGE, "google-cloud-vision", app=APP + "from google.cloud import vision\n"),
        asking(SDK_RANGE, "hypercorn", Dockerfile=DOCKERFILE.replace("python", "hypercorn")),
        asking(SDK_RANGE, "snowflake-sqlalchemy", app=APP + 'URL = "snowflake://"\n'),
        asking(SDK_RANGE, "acme-toolbox", app=APP + "import toolbox\n"),
        asking(SDK_RANGE, "acme-client", app=APP + "import acme\n"),
        asking(SDK_RANGE, "joblib", "scikit-learn", app=APP + "import joblib\nMODEL = joblib.load('m')\n"),
        asking(
            SDK_RANGE,
            Dockerfile=DOCKERFILE,
            **{"pyproject.toml": '[project]\nname = "m"\ndependencies = ["polars"]\n'},
        ),
        asking(SDK_RANGE, "polars", **{"scripts/load.py": "import polars\n"}),
        {"requirements.txt": "pandas\n", "app.js": "1;\n"},
        asking(SDK_RANGE, "-r all.lock", **{"all.lock": "pandas==2.3.0\n"}),
        asking(SDK_RANGE, "-r requirements-template.txt", **{"requirements-template.txt": "stamina\n"}),
    ),
)  # fmt: skip
def unused_requirement(module: Module) -> Iterator[Finding]:
    """A requirement that nothing imports.

    It makes the image larger and slower to start, and each of its updates can break the build.
    """
    found = requirements(module)
    if not found or not module.python:
        return
    # Where an import is not explained either, a requirement of unknown imports may be there for it.
    puzzled = bool(module.once(_missing))
    for asked in _unexplained(found, module):
        if puzzled and not imports_of(asked.name):
            continue
        yield Finding(
            f"Nothing imports {asked.name}",
            asked.path,
            "Delete the line, or say in a comment on it what needs the library.",
            asked.line,
        )


def _missing(module: Module) -> list[tuple[str, int, str]]:
    """The imports that no requirement provides: file, line and name."""
    found = requirements(module) or Requirements()
    return [
        (source.path, line, top)
        for source in module.python.values()
        for top, line in sorted(foreign(source, module))
        if top not in _OF_THE_SDK and not _is_provided(top, found)
    ]


def _owned(found: Requirements) -> str | None:
    owned = (path for path in found.paths if not is_lock(path) and not is_template(path))
    return next(owned, None)


def _is_provided(top: str, found: Requirements) -> bool:
    if libraries_of(top) & found.installed:
        return True
    return any(top in imports_of(library) for library in sorted(found.installed))


def _unexplained(found: Requirements, module: Module) -> list[Asked]:
    """Requirements of the owner's that no import, no command and no other requirement explains."""
    tops = {t.target for source in module.python.values() for t in source.imports}
    tops |= _other_imports(module)
    words = _words(module)
    unpickles = module.once(_unpickles)
    return [
        asked
        for asked in found.asked
        if asked.name != SDK
        and not asked.beside
        and not is_lock(asked.path)
        and not is_template(asked.path)
        and not _UNIMPORTED.fullmatch(asked.name)
        and not (unpickles and _PICKLED.fullmatch(asked.name))
        and not _is_imported(asked.name, tops)
        and not _is_brought(asked, found)
        and not any(re.search(rf"\b{re.escape(word)}\b", words) for word in _names(asked.name))
    ]


def _unpickles(module: Module) -> bool:
    return any(
        isinstance(node, ast.Call) and _UNPICKLES.fullmatch(source.resolve(node.func))
        for source in module.python.values()
        for node in source.nodes
    )


def _is_imported(library: str, targets: set[str]) -> bool:
    names = {canonicalize_name(name) for name in imports_of(library)}
    for target in targets:
        flat = canonicalize_name(target.replace(".", "-")) + "-"
        if any(flat.startswith(f"{name}-") for name in {library, *names}):
            return True
        # What is called acme-client may be imported as acme.
        if not names and library.startswith(f"{flat.partition('-')[0]}-"):
            return True
    return False


def _resemble(library: str, top: str) -> bool:
    """Whether a library of unknown imports may be the one that an import wants."""
    name = canonicalize_name(top)
    return bool({*library.split("-")} & {*name.split("-"), f"py{name}", f"{name}py"})


def _is_brought(asked: Asked, found: Requirements) -> bool:
    """Whether another requirement brings it along, so that its line is there for the version."""
    others = [
        (o.name, o.extras) for o in found.asked if o.name != asked.name and not is_lock(o.path)
    ]
    return asked.name in closure(others)[0]


def _names(library: str) -> set[str]:
    """How a library is called in commands and addresses."""
    return {library, library.replace("-", "_"), library.partition("-")[0]} - {"python", "google"}


def _words(module: Module) -> str:
    """The texts in which a library can be named that is not imported: commands, scripts, strings."""
    texts = [
        node.value
        for source in module.python.values()
        for node in source.nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for path in module.files:
        if path.endswith((".sh", "Dockerfile", "Procfile", ".ini", ".cfg", ".conf")):
            lines = (module.text(path) or "").splitlines()
            texts += [line for line in lines if "pip install" not in line]
    return "\n".join(texts)


def _other_imports(module: Module) -> set[str]:
    """What all Python files import, also those that are not counted as the module's code."""
    others = [path for path in module.files if path.endswith(".py")]
    return {found.target for path in others for found in module.source(path).imports}
