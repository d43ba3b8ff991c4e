"""The question `sources`: what is rendered for it, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from copier.errors import CopierError

from foundry_cm.local.sources.declared import LocalSources
from tests.conftest import Render


def test_nothing_is_rendered_without_sources(search_module: Any) -> None:
    assert not (search_module / "src/cmkit/sources.py").exists()
    assert not (search_module / "sources.example.toml").exists()
    assert "[sources]" not in (search_module / "requirements-template.txt").read_text()


def test_a_name_alone_is_a_rest_source(render: Render) -> None:
    module = render(sources=["GithubApi"])
    text = (module / "src/cmkit/sources.py").read_text()
    assert "def github_api() -> RestClient:" in text
    assert "AwsCredentials" not in text
    assert "[sources]" in (module / "requirements-template.txt").read_text()


def test_the_committed_example_is_one_that_the_local_foundry_reads(render: Render) -> None:
    module = render(sources=["Api", {"name": "Bucket", "kind": "s3", "secrets": ["a", "b-c"]}])
    (module / "sources.example.toml").rename(module / "sources.local.toml")
    sources = LocalSources.read(module)
    assert sources is not None
    assert sources.secrets == {"Api": {}, "Bucket": {"a": "...", "b-c": "..."}}


def test_git_ignores_the_values_of_this_machine(render: Render) -> None:
    assert "*.local.toml" in (render(sources=["Api"]) / ".gitignore").read_text().splitlines()


REFUSED = [
    ("GithubApi", 'Write "[" before "GithubApi", such as [GithubApi,'),
    ({"name": "GithubApi"}, 'Write "[" before "{", such as [GithubApi,'),
    (["my api"], 'Write "," before "api", such as [GithubApi,'),
    (["my.api"], '"my.api" is not usable as the API name of a Source'),
    ([7], '"7" is not usable as the API name of a Source'),
    ([["A"]], '["A"] has no name'),
    ([{"kind": "rest"}], '{"kind": "rest"} has no name'),
    ([{"name": "A", "kind": "soap"}], 'A is of kind "soap"; the kinds are rest, s3'),
    ([{"name": "A", "url": "x"}], 'A has the key "url"; the keys are name, kind and'),
    ([{"name": "A", "secrets": "k"}], 'A gives its secrets as "k"; write a list'),
    ([{"name": "A", "secrets": ["a.b"]}], '"a.b" is not usable as the name of a secret'),
    ([{"name": "A", "secrets": {"k": "v"}}], "A gives its secrets as"),
    (["Api", "api"], 'Two things would be called "api" in Python'),
    (["ab", {"name": "a", "secrets": ["x", "X"]}], 'Two things would be called "a_x"'),
    (["Import"], 'Import would be called "import" in Python, which is taken'),
]


@pytest.mark.parametrize(("sources", "reason"), REFUSED, ids=str)
def test_a_fault_is_named(render: Render, sources: Any, reason: str) -> None:
    with pytest.raises((ValueError, CopierError)) as refused:
        render(sources=sources)
    assert reason in str(refused.value)
