"""The Hugging Face hub, and a token that goes only there."""

import os

import requests

from .https import HttpsOrigin, Session
from .lock import WeightsError, url_problem


class HubOrigin(HttpsOrigin):
    """Files of a repository on a hub."""

    refused = "give the token of a reader in HF_TOKEN, which goes to the hub in HF_ENDPOINT alone"

    def __init__(self, base: str) -> None:
        super().__init__(base, hub_session(base))


def hub_endpoint() -> str:
    """The address of the hub that this machine's user names in HF_ENDPOINT, or the public one."""
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").strip().rstrip("/")
    if problem := url_problem(endpoint):
        raise WeightsError(
            f"HF_ENDPOINT {problem}", "name a hub such as https://huggingface.co", "environment"
        )
    return endpoint


def hub_session(url: str) -> Session:
    """A session for an address, with the token in HF_TOKEN only for the user's own hub.

    A lock comes with the module, and can name any address.
    """
    session = Session()
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token or not url.startswith(f"{hub_endpoint()}/"):
        return session
    if not token.isascii() or not token.isprintable() or " " in token:
        raise WeightsError(
            "HF_TOKEN is not a token", "set it again, as the hub shows it", "environment"
        )

    def with_token(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    session.auth = with_token
    return session
