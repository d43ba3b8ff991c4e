"""DEPLOY.md: the checklist with this module's own answers, and no blank left in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from allpairspy import AllPairs

from foundry_cm.cli import VERBS
from tests.conftest import REPOSITORY, Render

CHOICES: dict[str, list[Any]] = {
    "example": ["search", "blank", "embedding", "yolo"],
    "execution_mode": ["function", "pipeline"],
    "weights_origin": ["huggingface", "https", "foundry", "folder"],
    "weights_strategy": ["baked", "downloaded"],
    "weights_source": ["", "Hub"],
    "gpu": ["none", "v100", "l4"],
    "ci": ["none", "github", "gitlab"],
    "cm_from": ["git", "index", "file"],
    "permissions": ["none", "application"],
    "sources": [[], ["Api", {"name": "Bucket", "kind": "s3", "secrets": ["a", "b"]}]],
    "replicas": [(0, 1), (1, 1), (2, 5)],
    "concurrency_limit": [1, 8],
    "enrollment_host": ["", "acme.palantirfoundry.com"],
    "outputs": ["{result: dataset}", "{result: stream, table: dataset}"],
}


def is_possible(row: list[Any]) -> bool:
    """Whether the template takes the answers so far together."""
    chosen = dict(zip(CHOICES, row, strict=False))
    pipeline, origin = chosen.get("execution_mode") == "pipeline", chosen.get("weights_origin")
    downloaded = chosen.get("weights_strategy") == "downloaded"
    has_model = chosen["example"] in ("embedding", "yolo")
    reads_dataset = has_model and origin == "foundry" and downloaded
    needs_permissions = chosen["example"] == "yolo" or reads_dataset
    return not (
        (chosen["example"] == "search" and pipeline)
        or (origin == "folder" and downloaded)
        or (pipeline and reads_dataset)
        or (needs_permissions and chosen.get("permissions") == "none")
    )


MATRIX = [
    dict(zip(CHOICES, row, strict=True))
    for row in AllPairs(list(CHOICES.values()), filter_func=is_possible)
]
BLANK = re.compile(r"[{}]{2}|\{%|<[a-z_ -]+>|TODO|TBD|None|undefined|(?<!`)``(?!`)|\|[ \t]*\|")


def deploy(render: Render, **answers: Any) -> str:
    return (render(module_name="parts-search", **answers) / "DEPLOY.md").read_text()


def row(text: str, setting: str) -> str:
    """The value of a setting in one of the tables."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {setting} |")]
    return line.split("|")[2].strip()


# Between them they have every line of the page.
PAGES: list[dict[str, Any]] = [
    {"ci": "github", "permissions": "application", "min_replicas": 1, "sources": ["Api"]},
    {"ci": "gitlab", "example": "blank", "cm_from": "index"},
    {
        "example": "embedding",
        "engine": "onnx",
        "gpu": "t4",
        "weights_strategy": "downloaded",
        "weights_source": "Hub",
    },
    {
        "example": "embedding",
        "weights_strategy": "downloaded",
        "weights_origin": "foundry",
        "ci": "github",
        "gpu": "l4",
    },
    {"execution_mode": "pipeline", "outputs": "{result: stream}", "ci": "gitlab"},
    {"execution_mode": "pipeline", "example": "yolo", "weights_strategy": "downloaded"},
]
FIGURE = re.compile(
    r"\b(?:[\d.,]+|one|five)[ -](?:minutes?|hours?|days?|seconds?|MB|GB|GiB|vCPU)\b|\b0\.\d+\b"
)


@pytest.fixture(scope="module")
def pages(render: Render) -> list[str]:
    return [deploy(render, **answers) for answers in PAGES]


def claims() -> list[tuple[str, str, str]]:
    """What the page says of Foundry, its source and its mark, as docs/deployment.md has them."""
    lines = (REPOSITORY / "docs/deployment.md").read_text().splitlines()
    rows = [
        re.fullmatch(r"\| `(.+)` \| ([^|`]*(?:`[^`]*`)?[^|`]*) \| ?(.*) ?\|", line)
        for line in lines
    ]
    return [(row[1], row[2], row[3].strip()) for row in rows if row]


def test_each_claim_has_its_source_and_stands_in_a_page(pages: list[str]) -> None:
    found = claims()
    assert len(found) > 35
    assert [claim for claim, _, _ in found if not any(claim in page for page in pages)] == []
    assert [claim for claim, source, _ in found if len(source) < 8] == []
    # The page marks what is not documented, in the claim itself.
    assert [claim for claim, _, mark in found if mark not in claim] == []


def test_no_figure_stands_in_a_page_without_a_source(pages: list[str]) -> None:
    known = " ".join(claim for claim, _, _ in claims())
    ours = {"4 GB"}
    for page in pages:
        prose = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
        assert set(FIGURE.findall(prose)) - set(FIGURE.findall(known)) - ours == set()


def test_each_step_is_ticked_off_and_its_commands_are_those_of_cm(pages: list[str]) -> None:
    for page in pages:
        for title in re.findall(
            r"^## (\d\. (?!Plug|Scale).*|The next .*|Each .*)$", page, re.MULTILINE
        ):
            section = page.split(f"## {title}")[1].split("\n## ")[0]
            assert "- [ ] " in section, title
        verbs = set(re.findall(r"\bcm ([a-z]+)", page)) - {"is", "gets"}
        assert verbs <= set(VERBS)


def test_the_first_commit_comes_before_what_needs_one(pages: list[str]) -> None:
    for page in pages:
        first = page.index("git init -b main")
        assert first < page.index("cm publish")
        if "cm weights verify" in page:
            assert page.index("cm weights pull") < page.index("cm weights verify")
        if "cm schema --diff" in page:
            assert first < page.index("cm schema --write") < page.index("cm schema --diff")
        assert page.index("cm publish --dry-run") < page.index("read -rs TOKEN")


def test_the_table_of_sources_has_all_that_the_module_reaches(
    render: Render, pages: list[str]
) -> None:
    application, _, weights, dataset, stream, media = pages
    assert (
        "| `Hub` | rest | the host in `weights.lock`, and `*.hf.co` for large files | none by name |"
        in weights
    )
    own = "| any name | rest, for `https://HOST`, with the host of your Foundry | that host |"
    assert all(own in page for page in (application, dataset, stream, media))
    assert "| any name | rest | the host in `weights.lock` | none: no code names it |" in media
    for page in pages:
        assert ("### Sources" in page) == (row(page, "Sources") != "none")
        assert ("it calls nothing outside" in page) == (row(page, "Sources") == "none")


def test_code_repositories_get_all_that_the_image_gets(pages: list[str]) -> None:
    for page, answers in zip(pages, PAGES, strict=True):
        route = page.split("### Or let Foundry build it")[1].split("## 3.")[0]
        has_model = answers.get("example") in ("embedding", "yolo")
        assert ("`weights.lock` beside `app.py`" in route) == has_model
        has_torch = has_model and answers.get("engine") != "onnx"
        assert ("`requirements-template-torch.txt`" in route) == has_torch


def stands_where(text: str, words: str, condition: bool) -> None:
    """What one answer alone brings into the page is there with it, and not without."""
    assert (words in text) == condition, words


@pytest.mark.parametrize("answers", MATRIX, ids=str)
def test_no_blank_is_left_and_no_line_contradicts_another(
    render: Render, answers: dict[str, Any]
) -> None:
    low, high = answers["replicas"]
    given = {key: value for key, value in answers.items() if key != "replicas"}
    text = deploy(render, min_replicas=low, max_replicas=high, **given)
    assert BLANK.findall(text) == []
    assert "\n\n\n" not in text
    assert text.count("```") % 2 == 0
    for step in re.findall(r"\b[Ss]tep (\d)", text):
        assert f"\n## {step}. " in text
    # Each table has as many columns in each row.
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
    pipeline, ci = answers["execution_mode"] == "pipeline", answers["ci"]
    has_model = answers["example"] in ("embedding", "yolo")
    downloaded = has_model and answers["weights_strategy"] == "downloaded"
    origin = answers["weights_origin"] if has_model else None
    application = not pipeline and answers["permissions"] == "application"
    assert "parts-search" in row(text, "Container")
    stands_where(text, "### Sources", row(text, "Sources") != "none")
    stands_where(text, "it calls nothing outside", row(text, "Sources") == "none")
    stands_where(text, "cm run", pipeline)
    for words in (
        "cm call",
        "cm serve",
        "cm schema",
        "Query panel",
        "Minimum replicas",
        "Workshop",
    ):
        stands_where(text, words, not pipeline)
    stands_where(text, "cm weights", has_model)
    stands_where(text, "`weights.lock`", has_model)
    stands_where(text, "models/", has_model and not downloaded)
    stands_where(text, "### The origin of the weights", downloaded)
    proposed = origin == "foundry" or (origin == "https" and answers["example"] == "embedding")
    stands_where(text, "is still an example", proposed)
    stands_where(text, "The weights come from a dataset", origin == "foundry")
    stands_where(text, "CLIENT_SECRET", application)
    refused = answers["example"] == "yolo" or (downloaded and origin == "foundry")
    stands_where(text, "permissions=none", application and not refused)
    stands_where(
        text, "`Hub`", downloaded and origin != "foundry" and answers["weights_source"] == "Hub"
    )
    stands_where(text, "GitHub", ci == "github")
    stands_where(text, "GitLab", ci == "gitlab")
    stands_where(text, "The job `publish`", ci != "none")
    stands_where(text, "PIP_INDEX_URL", ci != "none" and answers["cm_from"] == "index")
    stands_where(text, "use a runner of your own", ci != "none" and origin == "folder")
    # The template of this test is a folder, so no token opens it.
    assert "TEMPLATE_TOKEN" not in text
    stands_where(text, "where no job can get", ci != "none" and answers["cm_from"] == "git")
    stands_where(text, "record_key", pipeline and "stream" in answers["outputs"])
    on_gpu = has_model and answers["gpu"] != "none"
    assert (answers["gpu"].upper() in row(text, "Resources of a replica")) == on_gpu
    stands_where(text, "kernels", on_gpu)
    if not pipeline:
        assert (row(text, "Minimum replicas"), row(text, "Maximum replicas")) == (
            str(low),
            str(high),
        )
        assert row(text, "Concurrency limit") == str(answers["concurrency_limit"])
        shares = has_model and answers["concurrency_limit"] > 1
        stands_where(text, "they share the passes of the model", shares)
        stands_where(text, "scale to zero", low == 0)


@pytest.mark.parametrize("example", ["search", "blank"])
def test_the_event_for_the_query_panel_is_the_sample_event(render: Render, example: str) -> None:
    module = render(example=example)
    text = (module / "DEPLOY.md").read_text()
    (event,) = (module / "events").glob("*.json")
    (shown,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert json.loads(shown) == json.loads(event.read_text())


def test_sources_are_listed_with_the_order_of_their_import(render: Render) -> None:
    text = deploy(render, sources=["Api", {"name": "Erp", "kind": "generic", "secrets": ["user"]}])
    assert "**stop, import, start**" in text
    assert "| `Api` | rest | its own address | none by name |" in text
    assert "| `Erp` | generic | its own address | `user` |" in text
    assert row(text, "Sources") == "`Api`, `Erp`"


def test_permissions_are_told_with_the_rule_for_the_other_choice(render: Render) -> None:
    assert row(deploy(render), "Permissions") == "No platform permissions"
    text = deploy(render, permissions="application")
    assert row(text, "Permissions") == "Application permissions"
    assert "copier update -d permissions=none" in text


def test_the_enrollment_is_named(render: Render) -> None:
    text = deploy(render, enrollment_host="acme.palantirfoundry.com")
    assert "It pushes to the registry of `acme.palantirfoundry.com`." in text
    assert "export FOUNDRY_HOSTNAME=acme.palantirfoundry.com" in text
    assert "To keep your host in this module" not in text


REFUSED = [
    (
        {"example": "yolo", "weights_strategy": "downloaded", "weights_origin": "folder"},
        "needs weights_strategy baked",
    ),
    ({"example": "yolo", "permissions": "none"}, "reading media needs application"),
    (
        {
            "example": "embedding",
            "weights_strategy": "downloaded",
            "weights_origin": "foundry",
            "permissions": "none",
        },
        "reading weights needs application",
    ),
    ({"min_replicas": -1}, "Give 0 or more, not -1."),
    ({"min_replicas": 2, "max_replicas": 1}, "at least min_replicas (2)"),
    ({"max_replicas": 0}, "Give 1 or more, and at least min_replicas"),
    ({"concurrency_limit": 0}, "Give 1 or more, not 0."),
    ({"base_image": "registry.acme.com/python:3.13"}, "Write the name without a tag"),
    ({"base_image": "python\nRUN id"}, "Write the name without a tag"),
    ({"enrollment_host": "https://acme.palantirfoundry.com"}, "Write the host without https://"),
    ({"enrollment_host": "acme.palantirfoundry.com\n"}, "Write the host without https://"),
]


@pytest.mark.parametrize(("answers", "reason"), REFUSED, ids=str)
def test_what_cannot_be_is_refused(render: Render, answers: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        render(**answers)


def test_cm_reads_the_scale_and_the_host(render: Render, tmp_path: Path) -> None:
    from foundry_cm.module.project import Project

    module = render(min_replicas=2, max_replicas=4, concurrency_limit=3, enrollment_host="a.b.c")
    project = Project.read(module)
    assert (project.replicas, project.concurrency, project.enrollment_host) == (2, 3, "a.b.c")
    assert project.image_budget == 400_000_000
