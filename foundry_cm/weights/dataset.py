"""Weights in a dataset of Foundry, read with the official client."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from foundry_sdk import (
    ApiNotFoundError,
    FoundryClient,
    NotFoundError,
    PalantirException,
    PermissionDeniedError,
    UnauthorizedError,
)

from .download import Body, TransientError
from .lock import WeightsError


class DatasetOrigin:
    """Files of a dataset as they were after one of its transactions."""

    def __init__(self, client: FoundryClient, dataset: str, transaction: str) -> None:
        self.base = dataset
        self.client = client
        self.transaction = transaction

    @contextmanager
    def open(self, path: str, start: int, version: str | None = None) -> Iterator[Body]:
        """All bytes of `path`: the platform cannot start at an offset."""
        files = self.client.datasets.Dataset.File.with_streaming_response
        with (
            platform_errors(f"{path} of {self.base}"),
            files.content(self.base, path, end_transaction_rid=self.transaction) as response,
        ):
            yield Body(0, None, None, None, response.iter_bytes())


@contextmanager
def platform_errors(what: str) -> Iterator[None]:
    """Turn errors of the client into WeightsError, or TransientError if they can pass."""
    try:
        yield
    except (ApiNotFoundError, NotFoundError):
        raise WeightsError(
            f"{what} is not there", "correct the dataset in pyproject.toml, then `cm weights pull`"
        ) from None
    except (PermissionDeniedError, UnauthorizedError):
        raise WeightsError(
            f"{what} cannot be read with these permissions",
            "give the module's service user (or yourself, on a laptop) a role on its project",
        ) from None
    except ValueError:
        # The client checks the form of identifiers before it sends anything.
        raise WeightsError(f"{what} cannot be asked for", "correct its RID") from None
    except (PalantirException, httpx.HTTPError) as error:
        raise TransientError(f"{what} did not arrive ({type(error).__name__})") from error
