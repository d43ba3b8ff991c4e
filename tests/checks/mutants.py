"""Change one condition of `foundry_cm/checks/` at a time, and see whether the examples notice.

    python -m tests.checks.mutants [EVERY] [NAME ...]

Each condition is negated, each comparison and each `and` is turned round. A change that makes an
example of a check fail, or a type be read otherwise than the SDK reads it, is noticed. EVERY tries only
each so many-th change, NAME only files of that name. Prints those that nobody noticed, and the score.
"""

from __future__ import annotations

import ast
import contextlib
import io
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from foundry_cm import checks
from foundry_cm.checks import Module, pages, registry
from foundry_cm.checks.fixes import mended
from foundry_cm.checks.registry import Files
from foundry_cm.module.git import git
from tests.checks import test_arrays, test_helpers, test_hints, test_words
from tests.checks.corpus import false_findings
from tests.checks.styles import STYLES
from tests.checks.test_examples import write

CHECKS = Path(registry.__file__).parent
BAR = 0.9
# Where names of a changed file are used.
_PATCHED = (
    "foundry_cm.checks",
    "tests.checks.test_helpers",
    "tests.checks.test_arrays",
    "tests.checks.corpus",
    __name__,
)
# Of the processor, for all examples of one change: one that never ends is noticed.
SECONDS = 10
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
}  # fmt: skip
# What takes a render of the template, or a run of a module: their tests are too slow to be tried so often.
_ELSEWHERE = {
    "carried", "rendering", "template_answers", "template_files", "template_update", "trial", "live",
}  # fmt: skip
# The tests of files that no example is about, or not all of them.
_TESTS = {
    "reading": ("test_ignores",), "ignores": ("test_ignores",), "history": ("test_history",),
    "runner": ("test_ignores",), "sources": ("test_words", "-k", "git_itself"),
}  # fmt: skip


class Turn(ast.NodeTransformer):
    """Turns the condition with one number round; `count` is how many there are."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.count, self.line, self.inside = wanted, 0, 0, 0

    def _is_next(self, node: ast.AST) -> bool:
        self.count += 1
        if self.count - 1 != self.wanted or not self.inside:
            return False
        self.line = getattr(node, "lineno", 0)
        return True

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        self.inside += 1
        node.body = [self.visit(line) for line in node.body]
        self.inside -= 1
        return node

    def generic_visit(self, node: ast.AST) -> Any:
        super().generic_visit(node)
        if not self.inside:
            return node
        if isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(
            node.test, ast.Compare | ast.BoolOp
        ):
            if self._is_next(node):
                node.test = ast.UnaryOp(ast.Not(), node.test)
        elif isinstance(node, ast.comprehension):
            for n, test in enumerate(node.ifs):
                if not isinstance(test, ast.Compare | ast.BoolOp) and self._is_next(test):
                    node.ifs[n] = ast.UnaryOp(ast.Not(), test)
        elif isinstance(node, ast.BoolOp) and self._is_next(node):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        elif isinstance(node, ast.Compare) and self._is_next(node):
            node.ops[0] = _TURNED[type(node.ops[0])]()
        return node


def mutants(file: Path) -> Iterator[tuple[int, str]]:
    """Every change of a file: its line and the changed text."""
    number = 0
    while True:
        turn = Turn(number)
        tree = turn.visit(ast.parse(file.read_text("utf-8")))
        if number >= turn.count:
            return
        if turn.line:
            yield turn.line, ast.unparse(ast.fix_missing_locations(tree))
        number += 1


class Trees:
    """The examples of all checks on disk, and the types with what the SDK makes of them."""

    def __init__(self, folder: Path) -> None:
        self.examples: list[tuple[str, Path, tuple[str, ...]]] = []
        for check in registry.checks():
            shown = [(bad.files, bad.at) for bad in check.bad] + [(good, ()) for good in check.good]
            for files, at in [] if check.live else shown:
                place = folder / f"{len(self.examples)}"
                write(place, files)
                self.examples.append((check.code, place, at))
        self.words: list[tuple[str, Path, str]] = []
        for code, files, what, fix in test_words.WORDS:
            place = folder / f"words-{len(self.words)}"
            write(place, files)
            self.words.append((code, place, f"{what} {fix}"))
        self.mends: list[tuple[Path, dict[str, str]]] = []
        unmended: list[tuple[Files, dict[str, str]]] = [
            (files, {}) for files in test_words.UNMENDED
        ]
        for files, after in [
            *((files, {path: text}) for files, path, text in test_words.MENDS),
            *unmended,
        ]:
            place = folder / f"mends-{len(self.mends)}"
            write(place, files)
            self.mends.append((place, after))
        self.styles = []
        for name, files in STYLES.items():
            write(folder / name, files)
            self.styles.append(folder / name)
        text, names = test_hints.both_ways()
        write(folder / "types", {"app.py": text})
        self.types = folder / "types"
        self.pages = _pages()
        self.posted = [
            test_hints.posted(names, n, kind) for n, kind in enumerate(test_hints.types())
        ]

    def notice(self, subject: str, types: bool) -> bool:
        """Whether anything is otherwise than it should be; the examples of the file come first."""
        for name, test in {**vars(test_helpers), **vars(test_arrays)}.items():
            if name.startswith("test_"):
                test()  # raises where it fails
        ordered = sorted(
            self.examples, key=lambda each: registry._REGISTERED[each[0]].subject != subject
        )
        if self.pages != _pages():
            return True  # the pages of the documentation, which a test compares
        if (types and self._misread()) or any(not self._is_right(*each) for each in ordered):
            return True
        own = (each for each in self.words if registry._REGISTERED[each[0]].subject == subject)
        if any(not self._says(*each) for each in own):
            return True
        return (
            any(
                {each.path: each.after for each in mended(Module.read(place), checks.run(place))}
                != after
                for place, after in self.mends
            )
            or any(false_findings(place) for place in self.styles)
            or not _proved(subject)
        )

    def _says(self, code: str, folder: Path, words: str) -> bool:
        check = registry._REGISTERED[code]
        found = check.run(Module.read(folder))
        return words in {
            f"{each.severity or check.severity} {each.where} {each.message} {each.fix}"
            for each in found
        }

    def _is_right(self, code: str, folder: Path, at: tuple[str, ...]) -> bool:
        check = registry._REGISTERED.get(code)
        if check is None:
            return False
        found = sorted(check.run(Module.read(folder)), key=lambda each: (each.path, each.line))
        return tuple(dict.fromkeys(each.where for each in found)) == at

    def _misread(self) -> bool:
        module = Module.read(self.types)
        source = module.program.sources["app"]
        reader = sys.modules["foundry_cm.checks.hints"].Reader(module.program)
        nodes: Any = [source.top[f"given_{n}"] for n in range(len(self.posted))]
        return any(
            test_hints.read(reader.read(source, node.returns)) not in (posted, "unknown")
            for node, posted in zip(nodes, self.posted, strict=True)
        )


def _pages() -> list[str]:
    return [pages.index(), *map(pages.page, registry.checks())]


def _proved(subject: str) -> bool:
    """Whether the tests of the checks that no example can show pass."""
    files = {
        check.proof
        for check in registry._REGISTERED.values()
        if check.subject == subject and check.proof and not check.live
    }
    name, *chosen = _TESTS.get(subject, ("",))
    more = [f"tests/checks/{name}.py", *chosen] if name else []
    if not files and not more:
        return True
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:foundry_cm", "-o", "addopts="]
    with contextlib.redirect_stdout(io.StringIO()), asking(git):
        return pytest.main([*options, *sorted(files), *more]) == 0


@contextlib.contextmanager
def asking(answers: Any) -> Iterator[None]:
    """The checks with another `git`."""
    users = [m for n, m in sys.modules.items() if n.startswith("foundry_cm.checks")]
    before = [(user, vars(user)["git"]) for user in users if hasattr(user, "git")]
    for user, _ in before:
        vars(user)["git"] = answers
    try:
        yield
    finally:
        for user, kept in before:
            vars(user)["git"] = kept


@contextlib.contextmanager
def changed(name: str, text: str) -> Iterator[None]:
    """The package with one file changed, wherever its names are used."""
    old, new = sys.modules[name], ModuleType(name)
    new.__file__, new.__package__ = old.__file__, name.rpartition(".")[0]
    registered = dict(registry._REGISTERED)
    for code in [code for code, check in registered.items() if check.run.__module__ == name]:
        del registry._REGISTERED[code]
    sys.modules[name] = new
    replaced: list[tuple[ModuleType, str, Any]] = []
    try:
        exec(compile(text, str(old.__file__), "exec", dont_inherit=True), new.__dict__)
        registry.checks.cache_clear()
        for user in [m for n, m in sys.modules.items() if n.startswith(_PATCHED)]:
            for key, value in list(vars(user).items()):
                if user is new or (value is not old and not _is_of(value, old, key)):
                    continue
                replaced.append((user, key, value))
                setattr(user, key, new if value is old else vars(new)[key])
        yield
    finally:
        for user, key, value in replaced:
            setattr(user, key, value)
        sys.modules[name] = old
        registry._REGISTERED.clear()
        registry._REGISTERED.update(registered)
        registry.checks.cache_clear()


def _is_of(value: Any, module: ModuleType, key: str) -> bool:
    """Whether it is a class or a function of a module, under its own name."""
    mine = vars(module).get(key)
    return mine is value and callable(value) and value.__module__ == module.__name__


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise an error after so many seconds of the processor, where the system counts them."""
    if sys.platform == "win32":
        yield
        return

    def end(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> int:
    """Print the score, and 1 where it is below the bar."""
    registry.checks()
    every = int(sys.argv[1]) if sys.argv[1:] else 1
    names = sys.argv[2:]
    tried, survivors = 0, []
    # The examples are in no repository, and to ask git for each of them takes longer than the check.
    with tempfile.TemporaryDirectory() as folder, asking(lambda *_: None):
        trees = Trees(Path(folder))
        assert not trees.notice("", types=True), "the examples fail without any change"
        for file in sorted(CHECKS.rglob("*.py")):
            if (
                file.stem in _ELSEWHERE
                or file.stem == "__init__"
                or (names and file.stem not in names)
            ):
                continue
            name = ".".join(
                ("foundry_cm", "checks", *file.relative_to(CHECKS).with_suffix("").parts)
            )
            import_module(name)
            for number, (line, text) in enumerate(mutants(file)):
                if number % every:
                    continue
                tried += 1
                try:
                    with limited(), contextlib.redirect_stderr(io.StringIO()), changed(name, text):
                        noticed = trees.notice(file.stem, file.stem in ("hints", "classes", "hint"))
                except Exception:  # noqa: BLE001  (a change that breaks the check is noticed as well)
                    noticed = True
                if not noticed:
                    survivors.append(f"{file.relative_to(CHECKS.parent)}:{line}")
                    print(survivors[-1], flush=True)
    score = 1 - len(survivors) / tried
    print(f"{tried - len(survivors)} of {tried} changes are noticed: {score:.1%} (bar: {BAR:.0%})")
    return int(score < BAR)


if __name__ == "__main__":
    sys.exit(main())
