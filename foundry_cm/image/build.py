"""`cm build`: the image, its size by layer, and what Foundry would refuse in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from foundry_cm.errors import USAGE, CmError
from foundry_cm.image.engines import Engine, Secret
from foundry_cm.image.image import MB, Image, human_size
from foundry_cm.image.rules import broken_rules


@dataclass(frozen=True)
class Report:
    """A built image, the budget it was built for (bytes, or None) and what is wrong with it."""

    image: Image
    budget: int | None
    findings: tuple[CmError, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as `--format json` prints it; sizes in bytes."""
        return {
            "image": self.image.ref,
            "id": self.image.id,
            "size": self.image.size,
            "budget": self.budget,
            "layers": [
                {"instruction": layer.instruction, "size": layer.size}
                for layer in self.image.layers
            ],
            "findings": [finding.as_json() for finding in self.findings],
        }

    def show(self, console: Console) -> None:
        """Print the layers, base first, and their sum."""
        rows = [(human_size(layer.size), layer.instruction) for layer in self.image.layers]
        limit = f", of {human_size(self.budget)} allowed" if self.budget else ""
        rows.append((human_size(self.image.size), f"in all{limit}"))
        width = max(len(size) for size, _ in rows)
        for size, text in rows:
            line = f"{size:>{width}}  {' '.join(text.split())}"
            console.print(line, markup=False, highlight=False, no_wrap=True, overflow="ellipsis")

    def check(self) -> None:
        """Raise `CmError` when Foundry would refuse the image or it is over its budget."""
        if not self.findings:
            return
        first, *others = self.findings
        details = "\n".join(f"{other.what}. {other.fix}" for other in others) or None
        raise CmError(
            first.what,
            where=first.where or f"image {self.image.ref}",
            fix=first.fix,
            code=first.code,
            details=details,
        )


def build(
    folder: Path,
    ref: str,
    engine: Engine,
    *,
    budget: int | None = None,
    secrets: Iterable[Secret] = (),
    extra: Sequence[str] = (),
) -> Report:
    """Build the module in `folder` as the image `ref`, and check it.

    Raises `CmError` when there is no Dockerfile or the build fails; what the finished image breaks
    is in the report.
    """
    if not (folder / "Dockerfile").is_file():
        raise CmError(
            "there is no Dockerfile",
            where=str(folder),
            fix="Run this in the module's folder.",
            code="NoDockerfile",
            exit_code=USAGE,
        )
    engine.build(folder, ref, secrets=secrets, extra=extra).run()
    image = engine.inspect(ref)
    return Report(image, budget, (*broken_rules(image, engine), *_over_budget(image, budget)))


def _over_budget(image: Image, budget: int | None) -> Iterable[CmError]:
    if budget is None or image.size <= budget:
        return
    largest = max(image.layers, key=lambda layer: layer.size)
    yield CmError(
        f"the image has {human_size(image.size)}, "
        f"{human_size(image.size - budget)} over its budget",
        where=f"image-budget-mb = {budget / MB:g} in pyproject.toml",
        fix=f"The largest layer is {largest.instruction} ({human_size(largest.size)}): "
        "shrink it, or raise the budget.",
        code="budget",
    )
