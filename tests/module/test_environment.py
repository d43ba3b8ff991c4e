"""Which of the caller's variables a module gets."""

from __future__ import annotations

import pytest

from foundry_cm.errors import CmError
from foundry_cm.local.environment import check_free, needed, passed_on

KEPT = {"PATH": "/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "0", "https_proxy": "http://proxy:1"}
LEFT = (
    "AWS_SECRET_ACCESS_KEY",
    "TOKEN",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "NODE_ENV",
    "PYTHONPATH",
)


def test_module_gets_what_any_process_needs_and_nothing_else_of_the_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**KEPT, **dict.fromkeys(LEFT, "x")}.items():
        monkeypatch.setenv(name, value)
    assert KEPT.items() <= needed().items()
    assert not set(LEFT) & needed().keys()


def test_variable_is_passed_on_by_name_or_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "eu")
    monkeypatch.delenv("NOT_HERE", raising=False)
    assert passed_on(["REGION", "LEVEL=a=b", "EMPTY="]) == {
        "REGION": "eu",
        "LEVEL": "a=b",
        "EMPTY": "",
    }
    for wrong, reason in [
        ("NOT_HERE", "The variable NOT_HERE is not set here"),
        ("a b=c", '"a b=c" is not a variable'),
        ("FOUNDRY_TOKEN", "FOUNDRY_TOKEN is your own credential, and cm gives it to no module"),
        (
            "FOUNDRY_HOSTNAME",
            "FOUNDRY_HOSTNAME is your own credential, and cm gives it to no module",
        ),
    ]:
        with pytest.raises(CmError, match=reason) as refused:
            passed_on([wrong])
        assert refused.value.exit_code == 2


def test_variable_of_foundry_cannot_be_passed_on() -> None:
    with pytest.raises(CmError, match="RUNTIME_HOST is set by Foundry, so it cannot be passed on"):
        check_free({"RUNTIME_HOST": "elsewhere"}, {"RUNTIME_HOST": "localhost"})
