"""The platform beside a module that answers calls: for the module, and for those who call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from foundry_cm.errors import USAGE, CmError
from foundry_cm.local.function.settings import Settings
from foundry_cm.local.platform.access import Tokens, guarded
from foundry_cm.local.platform.queries import routes
from foundry_cm.local.platform.queries.routes import QUERIES, Called, Queries

if TYPE_CHECKING:
    from foundry_cm.local.platform.registry import Registry


def platform_of(
    settings: Settings, tokens: Tokens, module: Called
) -> tuple[web.Application, Registry | None]:
    """The platform, and what the module may read on it.

    A module without permissions reads nothing: it has no token.
    """
    registry = None
    if settings.remote and not settings.application:
        raise CmError(
            "The module has no application permissions, so it cannot read the platform",
            where="--remote",
            fix="Leave --remote out, or give the module the permissions: permissions = "
            '"application" in [tool.foundry-cm].',
            exit_code=USAGE,
        )
    if settings.application:
        # Loaded only here: most modules have no use for the data of the platform.
        from foundry_cm.local.platform.app import create_platform
        from foundry_cm.local.platform.data import data_resources
        from foundry_cm.local.platform.registry import REGISTRY
        from foundry_cm.local.platform.remote import remote_types, with_remote

        resources = data_resources(settings.folder, settings.data)
        resources = with_remote(resources, settings.remote)
        app = create_platform(
            settings.folder, resources, access=tokens, object_types=remote_types(settings.remote)
        )
        registry = app[REGISTRY]
    else:
        app = guarded(tokens)
    names = registry.ontology.names if registry and registry.ontology else ()
    app[QUERIES] = Queries(module, settings.api_names, names)
    app.add_routes(routes.routes())
    return app, registry
