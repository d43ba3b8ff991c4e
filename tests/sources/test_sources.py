"""Sources: the rendered accessors, through the official client, against systems on loopback."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from foundry_cm.errors import CmError
from foundry_cm.local.authorities import named_authorities, public_authorities
from foundry_cm.local.mounts import Mounts
from foundry_cm.local.sources.declared import LocalSources
from foundry_cm.testing import CallFailed, Foundry
from tests.conftest import Render
from tests.sources.upstream import Upstream, upstream

SOURCES = [
    {"name": "PartsApi", "secrets": ["webhookKey"]},
    {"name": "PartsBucket", "kind": "s3"},
    {"name": "Erp", "kind": "generic", "secrets": ["user"]},
]
# Each branch uses one accessor of src/cmkit/sources.py.
APP = """
import json
from dataclasses import dataclass
from compute_modules.context import QueryContext
from cmkit import function, sources, start

@dataclass
class Payload:
    what: str

@dataclass
class Result:
    text: str

@function
def ask(context: QueryContext, event: Payload) -> Result:
    if event.what == "secrets":
        return Result(sources.parts_api_webhook_key() + " " + sources.erp_user())
    if event.what == "aws":
        keys = sources.parts_bucket()
        return Result(f"{keys.access_key_id} {keys.secret_access_key}")
    answer = sources.parts_api().request("POST", event.what, json={"a": 1})
    return Result(answer.json()["seen"])

if __name__ == "__main__":
    start()
"""
LOCAL = """
[PartsApi]
url = "{url}"
headers = {{ Authorization = "Bearer canary-login" }}
query = {{ key = "canary-query" }}
secrets = {{ webhookKey = "canary-webhook" }}
{ca}
{proxy}

[PartsBucket]
kind = "s3"
aws = {{ access-key-id = "AKIA", secret-access-key = "canary-aws" }}

[Erp]
kind = "generic"
secrets = {{ user = "canary-user" }}
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with upstream(tmp_path_factory.mktemp("upstream")) as running:
        yield running


@pytest.fixture
def module(render: Render) -> Path:
    folder = render(example="blank", sources=SOURCES)
    (folder / "src/app.py").write_text(APP)
    return folder


def configure(module: Path, system: Upstream, *, ca: bool = True, proxy: bool = False) -> None:
    (module / "sources.local.toml").write_text(
        LOCAL.format(
            url=system.url,
            ca=f'ca = "{system.ca}"' if ca else "",
            proxy=f'proxy = "{system.proxy}"\nproxy-token = "canary-proxy"' if proxy else "",
        )
    )


def serve(module: Path) -> Foundry:
    return Foundry(module, [sys.executable, "src/app.py"])


def test_headers_parameters_and_certificates_reach_the_other_side(
    module: Path, system: Upstream
) -> None:
    configure(module, system)
    with serve(module) as foundry:
        seen = json.loads(foundry.call("ask", {"what": "/parts/7"})["text"])
    assert seen["path"] == "/base/parts/7"
    assert seen["query"] == {"key": "canary-query"}
    assert seen["headers"]["Authorization"] == "Bearer canary-login"
    assert seen["headers"]["User-Agent"].startswith("external-systems")
    assert seen["body"] == '{"a": 1}'


def test_secrets_arrive_with_and_without_the_prefix_of_rest_sources(
    module: Path, system: Upstream
) -> None:
    configure(module, system)
    with serve(module) as foundry:
        assert foundry.call("ask", {"what": "secrets"}) == {"text": "canary-webhook canary-user"}
        assert foundry.call("ask", {"what": "aws"}) == {"text": "AKIA canary-aws"}


def test_calls_of_a_source_behind_an_agent_go_through_its_proxy(
    module: Path, system: Upstream
) -> None:
    configure(module, system, proxy=True)
    system.tunnels.clear()
    with serve(module) as foundry:
        seen = json.loads(foundry.call("ask", {"what": "x"})["text"])
    login = base64.b64encode(b"user:canary-proxy").decode()
    assert seen["headers"]["Authorization"] == "Bearer canary-login"
    assert [tunnel["Proxy-Authorization"] for tunnel in system.tunnels] == [f"Basic {login}"]


def test_a_certificate_that_the_source_does_not_know_is_refused(
    module: Path, system: Upstream
) -> None:
    configure(module, system, ca=False)
    with serve(module) as foundry:
        with pytest.raises(CallFailed, match="ask failed on job"):
            foundry.call("ask", {"what": "x"})
        assert "CERTIFICATE_VERIFY_FAILED" in foundry.output


def test_an_error_of_the_other_side_fails_the_call(module: Path, system: Upstream) -> None:
    configure(module, system)
    with serve(module) as foundry:
        with pytest.raises(CallFailed, match="ask failed on job"):
            foundry.call("ask", {"what": "missing"})
        assert "404 Client Error" in foundry.output


def test_a_source_that_is_not_imported_is_named_with_what_to_do(module: Path) -> None:
    with serve(module) as foundry:
        with pytest.raises(CallFailed, match="ask failed on job"):
            foundry.call("ask", {"what": "x"})
        assert (
            'SourceError: The Source "PartsApi" is not imported into this module. In Foundry: stop '
            "the module, import it (Configure tab, Sources), start the module."
        ) in foundry.output


def test_no_secret_of_a_source_is_printed(module: Path, system: Upstream) -> None:
    configure(module, system, proxy=True)
    with serve(module) as foundry:
        for what in ("secrets", "aws", "x"):
            foundry.call("ask", {"what": what})
        with pytest.raises(CallFailed) as failure:
            foundry.call("ask", {"what": "missing"})
        printed = foundry.output + str(failure.value)
    hidden = ["canary-login", "canary-webhook", "canary-aws", "canary-user", "canary-proxy"]
    assert [canary for canary in hidden if canary in printed] == []


def test_mounted_files_have_the_shapes_that_foundry_documents(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    (tmp_path / "sources.local.toml").write_text(
        """
        [Api]
        url = "https://a.example"
        headers = { A = "b" }
        secrets = { Key = "s" }
        ca = "ca.pem"
        proxy = "https://proxy.example:3128"
        [Bucket]
        kind = "s3"
        aws = { access-key-id = "i", secret-access-key = "k", session-token = "t" }
        [Big]
        kind = "generic"
        oauth = { access-token = "o", expiration = "2030-01-01T00:00:00Z" }
        """
    )
    sources = LocalSources.read(tmp_path)
    assert sources is not None
    assert sources.secrets == {"Api": {"additionalSecretKey": "s"}, "Bucket": {}, "Big": {}}
    assert sources.configurations["Api"] == {
        "secrets": {"additionalSecretKey": "s"},
        "httpConnectionConfig": {
            "url": "https://a.example",
            "authHeaders": {"A": "b"},
            "queryParameters": {},
        },
        "proxyToken": "local",
        "serverCertificates": {"ca": "PEM"},
    }
    session = {
        "accessKeyId": "i",
        "secretAccessKey": "k",
        "sessionToken": "t",
        "expiration": "2999-01-01T00:00:00Z",
    }
    assert sources.configurations["Bucket"]["resolvedCredentials"] == {
        "cloudCredentials": {"awsCredentials": {"sessionCredentials": session}}
    }
    assert sources.configurations["Big"]["resolvedCredentials"] == {
        "oauth2Credentials": {"accessToken": "o", "expiration": "2030-01-01T00:00:00Z"}
    }
    assert sources.proxies == ("https://proxy.example:3128",)


def test_authorities_that_a_person_passes_on_join_the_public_ones(tmp_path: Path) -> None:
    company = trustme.CA().cert_pem.bytes().decode()
    (tmp_path / "company.pem").write_text(company)
    named = named_authorities({"NODE_EXTRA_CA_CERTS": str(tmp_path / "company.pem")})
    plain = Mounts.create(tmp_path / "plain").trusted()
    assert plain.keys() == {"DEFAULT_CA_PATH", "NODE_EXTRA_CA_CERTS"}
    mounts = Mounts.create(tmp_path / "named", LocalSources.read(tmp_path, {"Api": {}}), named)
    read = {name: Path(file).read_text() for name, file in mounts.trusted().items()}
    assert all(company in text for text in read.values())
    public, own = public_authorities(), mounts.ca.read_text()
    assert public in read["DEFAULT_CA_PATH"] and own in read["DEFAULT_CA_PATH"]
    # The authority of the runtime is in none that clients find by themselves, but for Node's.
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        assert public in read[name] and own not in read[name]
    assert own in read["NODE_EXTRA_CA_CERTS"]


WRONG = [
    ('[Api]\nurl = "http://canary"', 2, "[Api] url", "url is not an https address"),
    ('[Api]\nulr = "https://canary"', 2, "[Api] ulr", 'There is no key "ulr"'),
    ("[Api]\nsecrets = { a = 1 }", 2, "[Api.secrets] a", "a has to be text, not a whole number"),
    ('[Api]\nkind = "soap"', 2, "[Api] kind", 'kind cannot be "soap"'),
    ('[Api]\nca = "canary.pem"', 2, "[Api] ca", "The file that ca names cannot be read"),
    ("Good = {}\nApi = 1", 2, "Api", "Api has to be a table, not a whole number"),
    ('[Api]\naws = { id = "canary" }', 2, "[Api.aws] id", 'There is no key "id"'),
    (
        '[Api]\n[Api.client-certificate]\nkey = "canary"',
        2,
        "[Api.client-certificate] certificate",
        "certificate is missing",
    ),
    ("[Api]\nheaders = 1", 2, "[Api] headers", "headers has to be a table, not a whole number"),
    (
        "[Api]\ngcp = { access-token = 2 }",
        2,
        "[Api.gcp] access-token",
        "access-token has to be text",
    ),
]


@pytest.mark.parametrize(("text", "line", "key", "what"), WRONG)
def test_a_fault_in_sources_local_toml_is_named_without_a_value(
    tmp_path: Path, text: str, line: int, key: str, what: str
) -> None:
    file = tmp_path / "sources.local.toml"
    file.write_text(text)
    with pytest.raises(CmError) as failure:
        LocalSources.read(tmp_path)
    assert failure.value.what.startswith(what)
    assert failure.value.where == f"{file}:{line}, {key}"
    assert failure.value.exit_code == 2
    assert "canary" not in str(vars(failure.value))
