"""What is a value of NumPy in a function, as far as its lines say so for certain."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from foundry_cm.checks.program import Definition, FunctionNode, Program
from foundry_cm.checks.source import Source, bindings, own_nodes

_DEEPEST = 12
_DTYPES = {
    "float16", "float32", "float64", "longdouble", "int8", "int16", "int32", "int64", "uint8", "uint16",
    "uint32", "uint64", "bool_", "complex64", "complex128",
}  # fmt: skip
_OF_PYTHON = {"float": "float64", "int": "int64", "bool": "bool_", "complex": "complex128"}
# Of these the second argument is the dtype, and the value is what they make without one.
_FILLED = {"zeros": "float64", "ones": "float64", "empty": "float64"}
_MADE = {
    "array": "",
    "asarray": "",
    "ascontiguousarray": "",
    "arange": "",
    "linspace": "float64",
    "full": "",
}
_KEEP = {
    "reshape", "flatten", "ravel", "copy", "squeeze", "transpose", "clip", "round", "repeat", "sort", "abs",
    "exp", "log", "sqrt", "tanh", "sin", "cos", "maximum", "minimum", "concatenate", "stack", "vstack",
    "hstack", "zeros_like", "ones_like", "nan_to_num",
}  # fmt: skip
_REDUCE = {
    "mean",
    "std",
    "var",
    "median",
    "sum",
    "prod",
    "min",
    "max",
    "amin",
    "amax",
    "norm",
    "average",
}
_COUNT = {
    "argmax": "int64",
    "argmin": "int64",
    "any": "bool_",
    "all": "bool_",
    "count_nonzero": "int64",
}
# Models whose results are arrays of float32.
_MODELS = {
    "sentence_transformers.SentenceTransformer": {"encode", "encode_query", "encode_document"}
}
_OF_TORCH = {
    "tensor", "as_tensor", "from_numpy", "zeros", "ones", "rand", "randn", "arange", "stack", "cat", "softmax",
    "sigmoid", "mean", "sum", "argmax", "argmin", "cosine_similarity", "normalize", "mm", "matmul",
}  # fmt: skip
_OF_TENSORS = {
    "cpu", "cuda", "to", "detach", "float", "half", "mean", "sum", "max", "min", "argmax", "argmin", "squeeze",
    "unsqueeze", "softmax", "sigmoid", "reshape", "view", "flatten", "norm", "std", "clone",
}  # fmt: skip
_TABLES = {
    "pandas.DataFrame",
    "pandas.Series",
    "pandas.read_csv",
    "pandas.read_parquet",
    "pandas.read_json",
}


@dataclass(frozen=True)
class Value:
    """An `array`, a `number`, an `item` that may be either, a `table` or a `tensor`; and its dtype."""

    shape: str
    dtype: str = ""

    @property
    def is_json(self) -> bool:
        """Whether JSON can be made of it, or may be: `float64` is a float of Python's."""
        return self.shape in ("number", "item") and self.dtype in ("", "float64")

    def __str__(self) -> str:
        what = {"array": "a NumPy array", "table": "a pandas table", "tensor": "a PyTorch tensor"}
        return what.get(self.shape, f"a NumPy {self.dtype}")


@dataclass(frozen=True)
class Scope:
    """A function whose values are looked at."""

    program: Program
    source: Source
    node: FunctionNode

    def value(self, node: ast.expr | None, depth: int = 0) -> Value | None:
        """What an expression is; None where that is not certain, or nothing of NumPy's."""
        if depth > _DEEPEST:
            return None
        if isinstance(node, ast.Call):
            return self._call(node, depth + 1)
        if isinstance(node, ast.Name):
            return self._name(node.id, depth + 1)
        if isinstance(node, ast.Subscript):
            inner = self.value(node.value, depth + 1)
            if inner is None or inner.shape not in ("array", "item", "tensor"):
                return None
            if inner.shape == "tensor":
                return inner
            return inner if isinstance(node.slice, ast.Slice) else replace(inner, shape="item")
        if isinstance(node, ast.BinOp):
            return self._both(node, depth + 1)
        if isinstance(node, ast.Attribute) and node.attr == "T":
            return self.value(node.value, depth + 1)
        return None

    def item(self, node: ast.expr, depth: int = 0) -> Value | None:
        """What an item of an expression is, as a loop over it gives it."""
        found = self.value(node, depth + 1)
        return replace(found, shape="item") if found and found.shape in ("array", "item") else None

    def _name(self, name: str, depth: int) -> Value | None:
        bound = [
            (target, value, node)
            for node in own_nodes(self.node)
            for target, value in bindings(node)
            if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(target))
        ]
        if len(bound) > 1:
            return None
        for target, value, node in bound:
            # What `+=` makes, and what a context manager gives, is not certain.
            if isinstance(node, ast.AugAssign | ast.AsyncFor | ast.withitem):
                return None
            loops = isinstance(node, ast.For | ast.comprehension)
            if isinstance(target, ast.Name):
                return self.item(value, depth) if loops else self.value(value, depth)
            return self._of_pair(name, target, value, depth) if loops else None
        given = [*self.node.args.posonlyargs, *self.node.args.args, *self.node.args.kwonlyargs]
        top = self.source.top.get(name)
        if isinstance(top, ast.Assign | ast.AnnAssign) and name not in {arg.arg for arg in given}:
            return self.value(top.value, depth)
        return None

    def _of_pair(self, name: str, target: ast.expr, looped: ast.expr, depth: int) -> Value | None:
        """A name of `for a, b in zip(...)` or `enumerate(...)`."""
        called = looped.func if isinstance(looped, ast.Call) else None
        maker = self.program.dotted(self.source, called)
        if not isinstance(target, ast.Tuple) or not isinstance(looped, ast.Call):
            return None
        places = [n for n, e in enumerate(target.elts) if isinstance(e, ast.Name) and e.id == name]
        place = places[0] - (maker == "enumerate") if places else -1
        if maker not in ("zip", "enumerate") or not 0 <= place < len(looped.args):
            return None
        return self.item(looped.args[place], depth)

    def _call(self, call: ast.Call, depth: int) -> Value | None:
        target = self.program.dotted(self.source, call.func)
        package, _, name = target.rpartition(".")
        if target in _TABLES:
            return Value("table")
        if package in ("torch", "torch.nn.functional") and name in _OF_TORCH:
            return Value("tensor")
        if package in ("numpy", "numpy.linalg"):
            return self._of_numpy(name, call, depth)
        first = call.args[0] if call.args else None
        if first is not None and target in ("abs", "round", "max", "min", "sum"):
            if target == "round" and len(call.args) == 1:
                return None
            is_one = target in ("abs", "round")
            return self.value(first, depth) if is_one else self.item(first, depth)
        if not isinstance(call.func, ast.Attribute):
            return None
        return self._method(call.func, call, depth)

    def _of_numpy(self, name: str, call: ast.Call, depth: int) -> Value | None:
        first = call.args[0] if call.args else None
        if name in _DTYPES:
            return Value("number", name)
        if name in _FILLED or name in _MADE:
            dtype = self._dtype(call, 1 if name in {*_FILLED, "array", "asarray"} else None)
            known = self.value(first, depth) if name in _MADE and first else None
            made = _FILLED.get(name) or _MADE.get(name) or (known.dtype if known else "")
            return Value("array", made if dtype is None else dtype)
        if name == "argsort":
            return Value("array", "int64")
        if name in _COUNT:
            return Value("array" if _has_axis(call, 1) else "number", _COUNT[name])
        if isinstance(first, ast.List | ast.Tuple) and first.elts:
            first = first.elts[0]
        inner = self.value(first, depth)
        return self._derived(name, inner, _has_axis(call, 1)) if inner else None

    def _method(self, named: ast.Attribute, call: ast.Call, depth: int) -> Value | None:
        owner = self.program.find(self.source, named.value)
        made = owner.value if isinstance(owner, Definition) else None
        if isinstance(owner, Definition) and isinstance(made, ast.Call):
            model = self.program.dotted(owner.source, made.func)
            if named.attr in _MODELS.get(model, ()):
                return Value("array", "float32")
        inner = self.value(named.value, depth)
        if inner is None or inner.shape == "table":
            return None
        if inner.shape == "tensor":
            return inner if named.attr in _OF_TENSORS else None
        if named.attr == "astype":
            return replace(inner, dtype=self._dtype(call, 0) or "")
        if named.attr in _COUNT:
            return Value("array" if _has_axis(call, 0) else "number", _COUNT[named.attr])
        # It sorts in place.
        return (
            None if named.attr == "sort" else self._derived(named.attr, inner, _has_axis(call, 0))
        )

    def _derived(self, name: str, inner: Value, has_axis: bool) -> Value | None:
        if name in _KEEP:
            return inner
        if name not in _REDUCE:
            return None
        whole = inner.dtype.startswith(("int", "uint", "bool"))
        if whole:
            dtype = "int64" if name in ("sum", "prod") else "float64"
            dtype = inner.dtype if name in ("min", "max", "amin", "amax") else dtype
        else:
            dtype = inner.dtype
        return Value("array" if has_axis else "number", dtype)

    def _both(self, node: ast.BinOp, depth: int) -> Value | None:
        left, right = self.value(node.left, depth), self.value(node.right, depth)
        known = left or right
        if known is None or known.shape in ("table", "tensor"):
            return known if known and known.shape == "tensor" else None
        plain = all(
            value is not None or isinstance(each, ast.Constant)
            for value, each in ((left, node.left), (right, node.right))
        )
        shape = (
            "array" if "array" in (getattr(v, "shape", "") for v in (left, right)) else known.shape
        )
        same = len({value.dtype for value in (left, right) if value}) == 1
        values = [each.value for each in (node.left, node.right) if isinstance(each, ast.Constant)]
        stays = known.dtype.startswith("float")
        if not stays and all(type(value) is int for value in values):
            stays = not isinstance(node.op, ast.Div)
        return Value(shape, known.dtype if plain and same and stays else "")

    def _dtype(self, call: ast.Call, place: int | None) -> str | None:
        """The dtype that a call names; "" for one that is not known, None where it names none."""
        given = [key.value for key in call.keywords if key.arg == "dtype"]
        if place is not None and len(call.args) > place:
            given.append(call.args[place])
        if not given:
            return None
        if isinstance(given[0], ast.Constant):
            name = str(given[0].value)
        else:
            name = self.program.dotted(self.source, given[0]).removeprefix("numpy.")
        name = _OF_PYTHON.get(name, {"single": "float32", "double": "float64"}.get(name, name))
        return name if name in _DTYPES else ""


def _has_axis(call: ast.Call, place: int) -> bool:
    return len(call.args) > place or any(key.arg in ("axis", "keepdims") for key in call.keywords)
