"""What cm says of the person's Foundry where it cannot reach it."""

from __future__ import annotations

import pytest
import requests

from foundry_cm.enrollment.person import Person
from foundry_cm.weights.https import _transport_errors
from foundry_cm.weights.lock import WeightsError

ISSUER = "[SSL: CERTIFICATE_VERIFY_FAILED] unable to get local issuer certificate"
EXPIRED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired"


def test_neither_the_token_nor_the_login_of_a_proxy_is_said() -> None:
    person = Person("acme.example", "token-of-ann", "")
    error = person.unreachable("407, url='http://ann:p@ss@proxy:8080', Bearer token-of-ann")
    assert error.what == (
        "acme.example cannot be reached: 407, url='http://***@proxy:8080', Bearer ***"
    )


@pytest.mark.parametrize(("why", "by_a_ca"), [(ISSUER, True), (EXPIRED, False)])
def test_a_ca_is_asked_for_only_where_it_is_what_lacks(why: str, by_a_ca: bool) -> None:
    fix = Person("acme.example", "token", "").unreachable(why).fix
    assert fix is not None and ("REQUESTS_CA_BUNDLE" in fix) is by_a_ca
    with pytest.raises(WeightsError) as refused, _transport_errors("acme.example"):
        raise requests.exceptions.SSLError(why)
    assert ("REQUESTS_CA_BUNDLE" in str(refused.value)) is by_a_ca
