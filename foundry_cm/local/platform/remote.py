"""Which data of a module lies in the real Foundry, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.local.platform.relay import MEDIA_SET, ONTOLOGY, check_rid
from foundry_cm.local.platform.resources import Resource
from foundry_cm.module.resources import ALIAS, Kind


def chosen(asked: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """The RIDs by alias, from `NAME=RID`, or from `NAME` for one that the settings know.

    Raises `CmError` for a name that nobody knows and for what is no RID.
    """
    found = {}
    for each in asked:
        alias, _, rid = each.partition("=")
        if not rid and alias not in known:
            raise CmError(
                f'cm does not know the RID of "{alias}" in Foundry',
                where="--remote",
                fix=f"Give its RID: --remote {alias}=ri.foundry.main.dataset..., or write it into "
                "pyproject.toml, [tool.foundry-cm.remote]."
                + (f" {near_miss(alias, known)}" if known else ""),
                exit_code=USAGE,
            )
        if not ALIAS.fullmatch(alias):
            raise CmError(
                f'"{alias}" cannot be the name of an input', where="--remote", exit_code=USAGE
            )
        found[alias] = rid or known[alias]
        check_rid(alias, found[alias])
    return found


def with_remote(resources: Sequence[Resource], remote: Mapping[str, str]) -> list[Resource]:
    """The resources of a module that answers calls, with those of the real Foundry among them."""
    chosen = {name: rid for name, rid in remote.items() if not is_ontology(rid)}
    local = [each for each in resources if each.alias not in chosen]
    return local + [Resource(alias, kind_of(rid), remote=rid) for alias, rid in chosen.items()]


def declared_remote(resources: Sequence[Resource], remote: Mapping[str, str]) -> list[Resource]:
    """The resources of a pipeline, of which some inputs lie in the real Foundry.

    Raises `CmError` for a name that is no input, and for an input of another kind.
    """
    inputs = {each.alias: each for each in resources if not each.writable}
    remote = {name: rid for name, rid in remote.items() if not is_ontology(rid)}
    for alias, rid in remote.items():
        if alias not in inputs:
            raise CmError(
                f'"{alias}" is not an input of this module',
                where="--remote",
                fix=near_miss(alias, inputs),
                exit_code=USAGE,
            )
        if inputs[alias].kind != kind_of(rid):
            raise CmError(
                f"{alias} is a {inputs[alias].kind}, and {rid} is a {kind_of(rid)}",
                where="--remote",
                fix="A stream cannot be read from a real Foundry; a dataset and a media set can.",
                exit_code=USAGE,
            )
    return [
        replace(each, remote=remote[each.alias])
        if not each.writable and each.alias in remote
        else each
        for each in resources
    ]


def remote_types(remote: Mapping[str, str]) -> dict[str, str]:
    """The object types that lie in the real Foundry, with the RIDs of their Ontologies."""
    return {name: rid for name, rid in remote.items() if is_ontology(rid)}


def is_ontology(rid: str) -> bool:
    """Whether an identifier is that of an Ontology: the name beside it is an object type of it."""
    return bool(ONTOLOGY.fullmatch(rid))


def kind_of(rid: str) -> Kind:
    """The kind of resource that an identifier names."""
    return "media_set" if MEDIA_SET.fullmatch(rid) else "dataset"
