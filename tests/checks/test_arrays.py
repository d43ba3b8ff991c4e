"""What the checks say of NumPy's values is what the SDK does with them."""

from __future__ import annotations

import ast
import json

import numpy as np
from compute_modules.client.encoder import CustomJSONEncoder

from foundry_cm.checks import arrays
from foundry_cm.checks.program import Program
from foundry_cm.checks.source import Source

BEFORE = "a = np.zeros((2, 3), dtype=np.float32); b = np.ones(3); c = np.arange(3); d = np.array([1, 2], 'int32')"
# Each is certain: it is a finding exactly where the SDK cannot send it.
CERTAIN = (
    "a", "b", "a.mean()", "b.mean()", "a.mean(axis=0)", "a.max()", "b.max()", "a[0]", "a[0][1]", "a[0:1]", "b[0:1]",
    "np.float32(1)", "a[0] + 1", "c + c", "d.sum() / 2", "np.argmax(a, axis=0)", "np.array(a)[0][0]", "np.array([1.0])",
    "a.mean(0)", "b.prod()", "d.prod()", "np.float64(1)", "round(np.float32(1), 2)", "round(np.float32(1))", "abs(a.sum())", "a.sum() * 2",
    "b.sum() / 2", "float(a.mean())", "a.mean().item()", "a.tolist()", "np.argmax(b)", "b.argmax()", "d.sum()",
    "d.mean()", "d.max()", "np.mean(a)", "np.mean(b)", "np.linalg.norm(a)", "np.linalg.norm(b)", "np.any(b)",
    "b.astype(np.float32).mean()", "b.astype('float32')[0]", "a.astype(float).mean()", "(a + 1).mean()", "a.T",
    "np.asarray([1.0], dtype='float32')[0]", "max(a[0])", "np.sqrt(a).max()", "len(a)", "np.stack([a, a]).max()", "np.array([a.max()]).tolist()",
    "np.int64(1) + 1", "np.bool_(True)", "np.median(a)", "np.std(b)", "a.reshape(-1)", "np.zeros_like(a).min()",
)  # fmt: skip


def test_is_found_where_the_sdk_cannot_send_it() -> None:
    assert [each for each in CERTAIN if _is_found(each) == _is_sent(each)] == []


def _is_sent(expression: str) -> bool:
    names: dict[str, object] = {"np": np}
    exec(BEFORE, names)
    try:
        json.dumps(eval(expression, names), cls=CustomJSONEncoder)
    except (TypeError, ValueError):
        return False
    return True


def _is_found(expression: str) -> bool:
    text = f"import numpy as np\ndef f():\n    {BEFORE}\n    return {expression}\n"
    source = Source("app.py", text)
    function = source.functions["f"]
    line = function.body[-1]
    assert isinstance(line, ast.Return)
    found = arrays.Scope(Program({"app": source}), source, function).value(line.value)
    return found is not None and not found.is_json
