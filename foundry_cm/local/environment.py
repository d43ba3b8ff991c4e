"""The variables of a module's process: Foundry's, and what any process needs on this machine.

The rest of the caller's shell stays out. What a module finds there by accident, such as credentials, a
token or another CA, it does not find in Foundry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.authorities import AUTHORITIES

_NEEDED = re.compile(
    r"""
    PATH | HOME | USER | LOGNAME | SHELL | LANG | LANGUAGE | LC_\w+ | TZ | TERM | COLORTERM | COLUMNS
    | NO_COLOR | FORCE_COLOR | TMPDIR | TEMP | TMP | LD_\w+ | DYLD_\w+ | XDG_\w+
    # Windows.
    | SYSTEMROOT | SYSTEMDRIVE | WINDIR | COMSPEC | PATHEXT | USERPROFILE | USERNAME | HOMEDRIVE
    | HOMEPATH | APPDATA | LOCALAPPDATA | PROGRAMDATA | PROGRAMFILES(\(X86\))? | NUMBER_OF_PROCESSORS
    | PROCESSOR_ARCHITECTURE | OS
    # Where an interpreter is, and how it was told to run.
    | VIRTUAL_ENV | CONDA_\w+ | PYENV_\w+ | ASDF_\w+ | MISE_\w+ | NVM_\w+ | VOLTA_HOME | JAVA_HOME
    | DOTNET_ROOT | GOROOT
    | PYTHON(HOME|UTF8|IOENCODING|DONTWRITEBYTECODE|PYCACHEPREFIX|HASHSEED|FAULTHANDLER|DEVMODE|WARNINGS
            |MALLOC|TRACEMALLOC|ASYNCIODEBUG|NODEBUGRANGES|_\w+)
    | DEBUGPY_\w+ | PYDEVD_\w+ | COVERAGE_\w+ | COV_CORE_\w+
    # The hardware.
    | CUDA_\w+ | NVIDIA_\w+ | HIP_\w+ | ROCR_\w+ | OMP_\w+ | MKL_\w+ | OPENBLAS_\w+ | KMP_\w+
    # Where caches of weights are.
    | WEIGHTS_CACHE | HF_HOME | HF_HUB_CACHE | TORCH_HOME | YOLO_CONFIG_DIR
    # The way out of this network.
    | (HTTP|HTTPS|FTP|ALL|NO)_PROXY
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What a laptop needs and Foundry does not set.
_ADDED = {*AUTHORITIES, "NO_PROXY", "no_proxy", "PYTHONUNBUFFERED", "PYTHONFAULTHANDLER"}
# Of a person: by them a client in the module would reach the real Foundry, and write there.
_OF_A_PERSON = {"FOUNDRY_HOSTNAME", "FOUNDRY_TOKEN"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def needed() -> dict[str, str]:
    """Those of this process's variables that a module gets in any case."""
    return {name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)}


def passed_on(asked: Iterable[str], where: str | None = None) -> dict[str, str]:
    """The variables that a person passes on: `NAME=VALUE`, or `NAME` for the value that it has here.

    Raises `CmError` for what is no name, for one that is not set, and for those by which a person reaches
    the real Foundry.
    """
    found: dict[str, str] = {}
    for each in asked:
        name, equals, value = each.partition("=")
        if not _NAME.fullmatch(name) or "\0" in value:
            raise CmError(
                f'"{each}" is not a variable',
                where=where,
                fix="Write NAME=VALUE, or NAME.",
                exit_code=USAGE,
            )
        if not equals and name in _OF_A_PERSON:
            raise CmError(
                f"{name} is your own credential, and cm gives it to no module",
                where=where,
                fix="To read data of the real Foundry, use --remote NAME. To pass another value, write "
                f"{name}=VALUE.",
                exit_code=USAGE,
            )
        if not equals and name not in os.environ:
            raise CmError(
                f"The variable {name} is not set here",
                where=where,
                fix=f"Set it, or write {name}=VALUE.",
                exit_code=USAGE,
            )
        found[name] = value if equals else os.environ[name]
    return found


def check_free(passed: Mapping[str, str], reserved: Mapping[str, str]) -> None:
    """Raise `CmError` where a person sets what Foundry sets."""
    if taken := sorted((passed.keys() & reserved.keys()) - _ADDED):
        raise CmError(
            f"{taken[0]} is set by Foundry, so it cannot be passed on",
            fix="Leave it out.",
            exit_code=USAGE,
        )
