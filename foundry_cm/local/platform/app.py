"""The local platform as one aiohttp application under the real paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from aiohttp import web

from foundry_cm.enrollment.person import Person
from foundry_cm.local.platform.access import Handler, Tokens, guarded
from foundry_cm.local.platform.data import RESERVED
from foundry_cm.local.platform.datasets import routes as datasets
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.faults import FAULTS, Faults, point_of
from foundry_cm.local.platform.incidents import INCIDENTS, is_refusal
from foundry_cm.local.platform.media import routes as media
from foundry_cm.local.platform.ontologies import action_routes as actions
from foundry_cm.local.platform.ontologies import routes as ontologies
from foundry_cm.local.platform.ontologies import set_routes as object_sets
from foundry_cm.local.platform.ontologies.object_sets import ObjectSets
from foundry_cm.local.platform.ontologies.store import Ontology
from foundry_cm.local.platform.registry import REGISTRY, Registry
from foundry_cm.local.platform.relay import RELAY, Relay, relayed
from foundry_cm.local.platform.resources import Resource
from foundry_cm.local.platform.streams import routes as streams


def create_platform(
    root: Path,
    resources: Iterable[Resource],
    *,
    access: Tokens | None = None,
    faults: Faults | None = None,
    keep_edits: bool = False,
    object_types: Mapping[str, str] | None = None,
) -> web.Application:
    """The platform API over the folders `data/` and `outputs/` below `root`.

    It answers under `/api/v2`, `/stream-proxy/api`, `/multipass/api`, `/mio/api`, `/foundry-catalog`
    and `/foundry-data-proxy`, and is meant for a TLS server on loopback: the client speaks https.
    `object_types` lie in the real Foundry, each in the Ontology of that RID, as do resources that say so.
    `keep_edits`: the Ontology keeps what actions edited in earlier runs. Raises `CmError` for data that
    cannot be used.
    """
    resources = list(resources)
    app = guarded(access or Tokens(), careful, faulty, relayed)
    registry = app[REGISTRY] = Registry(root, resources)
    if not _is_taken(registry):
        registry.ontology = Ontology.read(root, keep=keep_edits)
    remote = {each.remote: each for each in resources if each.remote}
    if remote or object_types:
        app[RELAY] = Relay(Person.at_this_shell("--remote"), remote, object_types or {})
        app.cleanup_ctx.append(app[RELAY].opened)
    app[FAULTS] = faults or Faults()
    app[object_sets.OBJECT_SETS] = ObjectSets()
    for module in (datasets, streams, media, ontologies, object_sets, actions):
        app.add_routes(module.routes())
    return app


def _is_taken(registry: Registry) -> bool:
    """Whether a pipeline has a resource of its own where the objects of the Ontology would be."""
    return any(each.alias == RESERVED for each in registry.resources)


@web.middleware
async def careful(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Notes when calls come, and lets none do anything more once the disk has refused one of them.

    What is in memory and what is on the disk may differ by then.
    """
    registry, incidents = request.app[REGISTRY], request.app[INCIDENTS]
    if incidents.failure:
        raise ApiError("Default:Internal", status=500, message=incidents.failure.what)
    try:
        return await handler(request)
    except FileNotFoundError as error:
        gone = f"{error.filename} is gone"
        raise ApiError("Default:NotFound", status=404, message=gone) from None
    except OSError as error:
        if is_refusal(error):
            raise incidents.refused(error, registry.root) from None
        raise
    finally:
        registry.activity.called()


@web.middleware
async def faulty(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets faults strike before and after a call that has a point of its own."""
    faults = request.app[FAULTS]
    if not faults.faults or not point_of(request):
        return await handler(request)
    struck = len(faults.struck)
    try:
        await faults.at(request, "before")
        response = await handler(request)
        await faults.at(request, "after")
    finally:
        if len(faults.struck) > struck:
            # The module tries again, which is no sign of rest.
            request.app[REGISTRY].activity.news()
    return response
