"""How clients post a failure: as an ordinary result of a certain shape.

Foundry has no route for failures. What counts as one is decided here, by the whole envelope of the
client that posts it: a successful result may well be a map with a key `error`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from foundry_cm.module import tracebacks

# The Python SDK's own texts (`compute_modules.client.internal_query_client`, SDK 0.34).
_SDK_ERRORS = re.compile(
    r"Unknown query type$|Failed to serialize result to json: |Unable to post job result after \d"
)
# The SDK writes what it caught into its own text as Python writes a dict.
_CAUGHT = re.compile(r"Failed to serialize result to json: (\{'exception': .*\})", re.DOTALL)
# What a module of the template posts in place of a traceback (`cmkit.functions`).
_TEMPLATE = re.compile(r"\w+ failed on job [\w-]+; the log of the module says why\.$")


def failure(result: Any, fits: Callable[[Any], bool]) -> str | None:
    """The text of the failure that a result stands for, or None where it is a result.

    `fits` tells whether a value may be a result of the function. Where it may be one, only an envelope
    that no handler returns by chance is a failure.
    """
    if not isinstance(result, dict) or not all(isinstance(text, str) for text in result.values()):
        return None
    keys = result.keys()
    if keys == {"exception"}:
        text = str(result["exception"])
        certain = tracebacks.is_in(text) or bool(_TEMPLATE.match(text))
    elif keys == {"error"}:
        text = str(result["error"])
        certain = bool(_SDK_ERRORS.match(text))
        text = _caught(text)
    elif keys == {"error", "reason"}:
        # The TypeScript SDK: the name of the error and its message (`QueryRunner`, 0.2.7).
        text, certain = f"{result['error']}: {result['reason']}", False
    else:
        return None
    return text if certain or not fits(result) else None


def _caught(text: str) -> str:
    """What the SDK caught while it sent a result, with its line ends; any other text as it is."""
    match = _CAUGHT.fullmatch(text)
    try:
        return str(ast.literal_eval(match[1])["exception"]) if match else text
    except (ValueError, SyntaxError, KeyError):
        return text
