"""What the checks say of NumPy's values is what the SDK does with them."""

from __future__ import annotations

import ast
import json

import numpy as np
import pytest
from compute_modules.client.encoder import CustomJSONEncoder

from foundry_cm.checks.arrays import Scope
from foundry_cm.checks.program import Program
from foundry_cm.checks.source import Source

BEFORE = "a = np.zeros((2, 3), dtype=np.float32); b = np.ones(3); c = np.arange(3); d = np.array([1, 2], 'int32')"
# Each is certain: it is a finding exactly where the SDK cannot send it.
CERTAIN = (
    "a", "b", "a.mean()", "b.mean()", "a.mean(axis=0)", "a.max()", "b.max()", "a[0]", "a[0][1]", "a[0:1]", "b[0:1]",
    "np.float32(1)", "np.float64(1)", "round(np.float32(1), 2)", "round(np.float32(1))", "abs(a.sum())", "a.sum() * 2",
    "b.sum() / 2", "float(a.mean())", "a.mean().item()", "a.tolist()", "np.argmax(b)", "b.argmax()", "d.sum()",
    "d.mean()", "d.max()", "np.mean(a)", "np.mean(b)", "np.linalg.norm(a)", "np.linalg.norm(b)", "np.any(b)",
    "b.astype(np.float32).mean()", "b.astype('float32')[0]", "a.astype(float).mean()", "(a + 1).mean()", "a.T",
    "np.asarray([1.0], dtype='float32')[0]", "max(a[0])", "np.sqrt(a).max()", "len(a)", "np.stack([a, a]).max()", "np.array([a.max()]).tolist()",
    "np.int64(1) + 1", "np.bool_(True)", "np.median(a)", "np.std(b)", "a.reshape(-1)", "np.zeros_like(a).min()",
)  # fmt: skip


@pytest.mark.parametrize("expression", CERTAIN)
def test_is_found_where_the_sdk_cannot_send_it(expression: str) -> None:
    names: dict[str, object] = {"np": np}
    exec(BEFORE, names)
    try:
        json.dumps(eval(expression, names), cls=CustomJSONEncoder)
        is_sent = True
    except (TypeError, ValueError):
        is_sent = False
    text = f"import numpy as np\ndef f():\n    {BEFORE}\n    return {expression}\n"
    source = Source("app.py", text)
    function = source.functions["f"]
    line = function.body[-1]
    assert isinstance(function, ast.FunctionDef) and isinstance(line, ast.Return)
    found = Scope(Program({"app": source}), source, function).value(line.value)
    assert (found is None or found.is_json) == is_sent, found
