{% from pathjoin('partials', 'records.jinja') import pascal %}
"""Calls the module as Foundry does: through the official SDK, under the local Foundry."""

import json
from pathlib import Path

import pytest
from foundry_cm.testing import EventRefused, Foundry

EVENTS = sorted(Path("events").glob("*.json"))


@pytest.mark.parametrize("event", EVENTS, ids=lambda path: path.stem)
def test_sample_event_is_answered(foundry: Foundry, event: Path) -> None:
    assert foundry.call(event.stem, json.loads(event.read_text(encoding="utf-8")))


def test_{{ function_name }}_needs_every_field(foundry: Foundry) -> None:
    with pytest.raises(EventRefused, match="{{ payload_fields | first }} is missing"):
        foundry.call("{{ function_name }}", {})
