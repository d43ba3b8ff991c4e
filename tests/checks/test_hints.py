"""What `cm check` says of each type is what the SDK's own parser does with it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from compute_modules.function_registry.function_schema_parser import parse_function_schema

from foundry_cm.checks import Module
from foundry_cm.checks.hint import Hint
from foundry_cm.checks.hints import Reader

PRELUDE = """
import collections, dataclasses, datetime, decimal, enum, pathlib, typing, uuid
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import date, datetime as moment, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import *
import numpy as np
from compute_modules.function_registry.types import Byte, Double, Long, Short
from pydantic import BaseModel
import attrs

class Colour(Enum): RED = 1
class Level(IntEnum): LOW = 1
class Word(StrEnum): A = "a"
Vector = list[float]
UserId = NewType("UserId", int)
T = TypeVar("T")
@dataclass
class Point: x: float; y: float = 0.0
@dataclass(frozen=True, slots=True)
class Frozen: x: int
@dataclass
class Base: first: str
@dataclass
class Derived(Base): second: list[Point] = field(default_factory=list)
class Plain(Base): third: int = 0
@dataclass(kw_only=True)
class Keywords: x: int
@dataclass
class HalfKeywords:
    x: int
    _: KW_ONLY
    y: int
@dataclass
class FieldKeyword: x: int = field(kw_only=True)
@dataclass
class NotInit: x: int = field(init=False, default=1)
@dataclass(init=False)
class NoInit: x: int
@dataclass
class WithClassVar:
    x: int
    n: ClassVar[int] = 1
@dataclass
class WithInitVar: x: InitVar[int]
@dataclass
class Nothing: pass
@dataclass
class Noted: x: Annotated[int, "m"]
@dataclass
class Holds: inner: dict
@dataclass
class Quoted: x: "Point"
@dataclass
class QuotedBuiltin: x: "int"
@dataclass
class Box(Generic[T]): x: T
class Written:
    x: int
    def __init__(self, x: int): self.x = x
class WrittenOnly:
    def __init__(self, x: int): self.x = x
class HintsOnly: x: int
class Differs:
    x: int
    def __init__(self, x: str): self.x = x
class Starred:
    x: int
    def __init__(self, x: int, *args): self.x = x
class Bare: pass
class Ticket(TypedDict): code: str; when: NotRequired[moment]
class Loose(TypedDict, total=False): code: str
class NotedDict(TypedDict): code: Annotated[str, "m"]
class MyDict(dict): pass
Made = TypedDict("Made", {"a": int})
class Row(NamedTuple): x: int
Pair = collections.namedtuple("Pair", "a b")
class Model(BaseModel): x: int
@attrs.define
class Attrs: x: int
Paint = Enum("Paint", "A B")
Brush = IntEnum("Brush", "A")
FLAG = True
@dataclass(frozen=FLAG)
class Flagged: x: int
class AddObject: pass
class ModifyObject: pass
class DeleteObject: pass
class AddLink: pass
class RemoveLink: pass
Edits = Union[AddObject, ModifyObject, DeleteObject, AddLink, RemoveLink]
"""

TYPES = """
str|int|float|bool|bytes|date|moment|datetime.datetime|Decimal|decimal.Decimal|Byte|Short|Long|Double
None|Any|object|list|set|frozenset|tuple|complex|bytearray|timedelta|datetime.time|dict|type
List|Dict|Set|Tuple|Iterable|Sequence|typing.Iterable
list[str]|List[int]|set[int]|Set[str]|Iterable[float]|typing.Iterable[int]|list[list[Point]]|list[Any]
dict[str, int]|Dict[int, str]|dict[str, Point]|dict[Point, int]|dict[str, list[date]]|dict[UserId, int]|dict[str, Any]
tuple[int, int]|Tuple[str]|frozenset[int]|Sequence[int]|Iterator[int]|Generator[int, None, None]|Mapping[str, int]
collections.deque|collections.OrderedDict|collections.defaultdict|collections.OrderedDict[str, int]|typing.Collection[int]
Optional[str]|Optional[moment]|Optional[Point]|str | None|None | int|int | str|Union[int, str]|Union[int, None]|Optional[list[Point]]
Union[int, str, None]|Literal['a']|Literal[1, 2]|Annotated[int, 'm']|Final[int]|Callable[[int], int]|Type[int]|LiteralString
Colour|Level|Word|Vector|UserId|T|uuid.UUID|pathlib.Path|np.float32|np.ndarray
Point|Frozen|Base|Derived|Keywords|HalfKeywords|FieldKeyword|NotInit|NoInit|WithClassVar|WithInitVar|Nothing|Noted|Holds
Quoted|QuotedBuiltin|Box|Box[int]|Written|WrittenOnly|HintsOnly|Differs|Starred|Bare|Ticket|Loose|NotedDict|MyDict|Made
Row|Pair|Model|Attrs|Paint|Brush|Flagged|Edits|'int'|'Point'|list['Point']|'list[int]'|Optional['str']
"""


def types() -> list[str]:
    return [
        each
        for each in TYPES.replace("\n", "|")
        .replace(" | None", " ¦ None")
        .replace("None | ", "None ¦ ")
        .replace("int | str", "int ¦ str")
        .split("|")
        if each
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Module, dict[str, Any]]:
    """The same text as the checks read it, and as Python runs it."""
    folder = tmp_path_factory.mktemp("types")
    text, names = both_ways()
    (folder / "app.py").write_text(text, encoding="utf-8")
    return Module.read(folder), names


def both_ways() -> tuple[str, dict[str, Any]]:
    """A function for each type: its text, and what is there once Python has run it."""
    text = PRELUDE.replace("from typing import *", STAR) + "".join(
        f"def given_{n}(context, event) -> {kind.replace('¦', '|')}: ...\n"
        for n, kind in enumerate(types())
    )
    module = ModuleType("app")
    sys.modules["app"] = module
    exec(compile(text, "app.py", "exec", dont_inherit=True), module.__dict__)
    return text, module.__dict__


def posted(names: dict[str, Any], number: int, kind: str) -> Any:
    """What the SDK posts for a type, as far as a hint says it."""
    try:
        parsed = parse_function_schema(names[f"given_{number}"], kind, [], {})
    except (IndexError, NameError, TypeError, ValueError):
        return "refused"
    return shape(parsed.function_schema["output"]["single"]["dataType"])


STAR = (
    "from typing import (Annotated, Any, Callable, ClassVar, Dict, Final, Generic, List, Literal, "
    "LiteralString, NamedTuple, NewType, NotRequired, Optional, Set, Tuple, Type, TypedDict, TypeVar, Union)"
)


def shape(posted: dict[str, Any]) -> Any:
    """A posted type, as far as a hint says it."""
    kind = posted["type"]
    inner = posted[kind]
    if kind in ("list", "set"):
        return kind, shape(inner["elementsType"])
    if kind == "map":
        return kind, shape(inner["keysType"]), shape(inner["valuesType"])
    if kind == "optionalType":
        return "optional", shape(inner["wrappedType"])
    if kind == "ontologyEdit":
        return "edits"
    if kind == "anonymousCustomType":
        fields = inner["fields"]
        return "record", {name: shape(each) for name, each in fields.items()}
    return kind


def read(hint: Hint) -> Any:
    """The same of a hint."""
    kinds = {each.kind for each in hint.walk()}
    if kinds & {"refused", "text"}:
        return "refused"
    if hint.kind == "empty":
        return "record", {}
    if hint.kind == "record":
        return "record", {field.name: read(field.hint) for field in hint.fields}
    return (hint.kind, *map(read, hint.items)) if hint.items else hint.kind


@pytest.mark.parametrize(("number", "kind"), list(enumerate(types())), ids=types())
def test_type_is_read_as_the_sdk_reads_it(
    both: tuple[Module, dict[str, Any]], number: int, kind: str
) -> None:
    module, names = both
    node: Any = module.program.sources["app"].top[f"given_{number}"]
    hint = Reader(module.program).read(module.program.sources["app"], node.returns)
    assert read(hint) in (posted(names, number, kind), "unknown")
