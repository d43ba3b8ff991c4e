"""The inputs and outputs that a pipeline module declares in `src/resources.json`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Meta

from foundry_cm.errors import USAGE, CmError
from foundry_cm.module.places import Place, read_file
from foundry_cm.module.records import Record, Wrong, as_record

FILE = Path("src") / "resources.json"

Kind = Literal["dataset", "stream", "media_set"]
# A dataset that is looked up in, and not processed.
InputKind = Literal["dataset", "stream", "media_set", "reference"]
ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class Declared(Record, frozen=True, kw_only=True, rename=None):
    """What the file says; the module itself reads the rest of it."""

    inputs: Annotated[dict[str, InputKind], Meta(examples=[{"orders": "dataset"}])]
    outputs: Annotated[dict[str, Kind], Meta(examples=[{"prices": "dataset"}])]
    # The alias of a dataset for the records that fail.
    errors: str | None = None
    output_format: Literal["csv", "parquet", "jsonl"] = "csv"
    batch_rows: Annotated[int, Meta(ge=1)] = 1
    # The template's loop takes it from here; another module has its own way.
    poll_seconds: Annotated[float, Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        given = [("inputs", alias) for alias in self.inputs]
        given += [("outputs", alias) for alias in self.outputs]
        given += [("errors", self.errors)] if self.errors else []
        seen: set[str] = set()
        for key, alias in given:
            if not ALIAS.fullmatch(alias):
                raise Wrong(
                    key,
                    f'"{alias}" cannot be an alias',
                    "Use up to 63 letters, digits, - and _, with a letter or a digit first.",
                )
            if alias in seen:
                raise Wrong(key, f'The alias "{alias}" is there twice', "Give each its own.")
            seen.add(alias)

    @property
    def written(self) -> dict[str, Kind]:
        """The outputs, with the one for errors."""
        return self.outputs | ({self.errors: "dataset"} if self.errors else {})


def read_resources(folder: Path) -> Declared:
    """Read the file in a module's folder; raises `CmError` where there is none, or it is wrong."""
    place = Place(folder / FILE)
    if not place.file.is_file():
        raise CmError(
            f"There is no {FILE.as_posix()}: this is not a pipeline module",
            where=str(folder),
            fix=f"A pipeline lists its inputs and outputs there: {_example(folder)}. The kinds are "
            f"{', '.join(get_args(Kind))}. A module that answers calls is run by: cm serve",
            code="NoPipeline",
            exit_code=USAGE,
        )
    return as_record(Declared, read_file(place.file), place, "BadResources")


def _example(folder: Path) -> str:
    """What the file of a module may say, which has only folders in `data/` so far."""
    names = [path.name for path in sorted(folder.glob("data/*/")) if ALIAS.fullmatch(path.name)]
    inputs = dict.fromkeys(names or ["orders"], "dataset")
    return json.dumps({"inputs": inputs, "outputs": {"results": "dataset"}})
