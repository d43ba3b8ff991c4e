"""`--remote`: a dataset and a media set of a real Foundry, for which a second local one stands."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from foundry_sdk import (
    BadRequestError,
    ConfidentialClientAuth,
    Config,
    FoundryClient,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
)

from foundry_cm.errors import CmError
from foundry_cm.local.platform.remote import chosen
from foundry_cm.local.platform.resources import Resource
from foundry_cm.testing import Foundry
from tests.cli.conftest import cm
from tests.function.conftest import HEAD, THREADS
from tests.platform.ontology import ids, write_ontology
from tests.platforms import LocalPlatform, running_platform
from tests.sources.upstream import upstream

CANARY = "canary-remote-token"
ORDERS, PHOTOS = "ri.foundry.main.dataset.real-orders", "ri.mio.main.media-set.real-photos"
LARGE = b"x" * 3_000_000
BODY = """
@function
def see(context, event: Payload) -> str:
    return str([name for name, value in os.environ.items() if "canary" in value])
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    root = tmp_path_factory.mktemp("real")
    local = [Resource("sales"), Resource("photos", "media_set")]
    write_ontology(root)
    with running_platform(root, local) as platform:
        platform.tokens.pipeline = CANARY
        platform.put("sales/a.csv", b"id,name\n1,one\n")
        platform.put("sales/_large.bin", LARGE)
        platform.put("photos/p.png", b"a picture")
        yield platform


@pytest.fixture
def shell(real: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_HOSTNAME", real.host)
    monkeypatch.setenv("FOUNDRY_TOKEN", CANARY)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(real.ca))


def module(folder: Path) -> Path:
    (folder / "data/orders").mkdir(parents=True)
    (folder / "data/orders/mine.csv").write_text("id\n9\n")
    (folder / "app.py").write_text(HEAD + BODY + THREADS)
    (folder / "pyproject.toml").write_text('[tool.foundry-cm]\npermissions = "application"\n')
    return folder


def client_of(foundry: Foundry) -> Any:
    """What a module has: the client with the credentials of its service user."""
    tokens = foundry.local.tokens
    ((client_id, secret),) = tokens.clients.items()
    config = Config(verify=foundry.local.ca)
    auth = ConfidentialClientAuth(client_id, secret, scopes=[])
    return FoundryClient(auth=auth, hostname=foundry.local.platform, config=config)


def answered(foundry: Foundry, path: str) -> int:
    """The status of a read whose path is sent as it is: the usual clients would resolve its `..`."""
    host = foundry.local.platform
    tls = ssl.create_default_context(cafile=foundry.local.ca)
    connection = http.client.HTTPSConnection(host, timeout=60, context=tls)
    with contextlib.closing(connection):
        token = foundry.local.tokens.issue()
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status


@pytest.mark.usefixtures("shell")
def test_reads_come_from_the_real_foundry_and_writes_go_nowhere(
    real: LocalPlatform, tmp_path: Path
) -> None:
    remote = {"orders": real.rid("sales"), "photos": real.rid("photos")}
    with Foundry(module(tmp_path), [sys.executable, "app.py"], remote=remote) as foundry:
        assert foundry.data == remote
        client, orders, photos = client_of(foundry), remote["orders"], remote["photos"]
        files = client.datasets.Dataset.File
        assert [each.path for each in files.list(orders)] == ["_large.bin", "a.csv"]
        assert files.content(orders, "_large.bin") == LARGE
        table = client.datasets.Dataset.read_table(orders, format="CSV")
        assert table.splitlines()[0] == b'"id","name"'
        item = client.media_sets.MediaSet.get_rid_by_path(
            photos, media_item_path="p.png", preview=True
        ).media_item_rid
        assert client.media_sets.MediaSet.read_original(photos, item, preview=True) == b"a picture"
        with pytest.raises(NotFoundError) as missing:
            files.content(orders, "none.csv")
        assert missing.value.name == "FileNotFoundOnBranch"

        writes: list[Callable[[], Any]] = [
            lambda: files.upload(orders, "b.csv", b"2"),
            lambda: client.datasets.Dataset.Transaction.create(orders, transaction_type="APPEND"),
            lambda: client.media_sets.MediaSet.create(photos, preview=True),
        ]
        for write in writes:
            with pytest.raises(PermissionDeniedError):
                write()
        assert sorted(path.name for path in (real.root / "data/sales").iterdir()) == [
            "_large.bin",
            "a.csv",
        ]
        # Neither the module nor a file that it can read has the token.
        assert foundry.call("see", {"text": ""}) == "[]"
        mounted = Path(foundry.local.ca).parent
        texts = [path.read_text() for path in mounted.rglob("*") if path.is_file()]
        assert not [text for text in texts if CANARY in text]


@pytest.mark.usefixtures("shell")
def test_an_object_type_comes_from_the_real_foundry_and_the_others_from_here(
    real: LocalPlatform, tmp_path: Path
) -> None:
    mine = '{"id": 9, "subject": "mine", "status": "open"}\n'
    write_ontology(tmp_path, {"Ticket.jsonl": mine, "Ticket.watchers.jsonl": ""})
    ontology = real.registry.ontology
    assert ontology is not None
    remote = {"Ticket": ontology.schema.rid}
    with Foundry(module(tmp_path), [sys.executable, "app.py"], remote=remote) as foundry:
        ontologies, name = client_of(foundry).ontologies, ontology.schema.name
        objects = ontologies.OntologyObject
        assert ids(objects.list(name, "Ticket")) == [1, 2, 3]
        assert objects.get(name, "Ticket", "2")["subject"] == "No toner"
        closed: dict[str, Any] = {"type": "eq", "field": "status", "value": "closed"}
        assert ids(objects.search(name, "Ticket", where=closed, select=[]).data) == [3]
        tickets: dict[str, Any] = {"type": "base", "objectType": "Ticket"}
        found = ontologies.OntologyObjectSet.load(name, object_set=tickets, select=["id"])
        assert ids(found.data) == [1, 2, 3]
        assert [each["name"] for each in objects.list(name, "Person")] == ["ann", "bob", "cy"]
        with pytest.raises(PermissionDeniedError) as refused:
            ontologies.Action.apply(name, "close-ticket", parameters={"ticket": 9})
        assert refused.value.name == "EditObjectPermissionDenied"
        ontologies.Action.apply(name, "hire", parameters={"name": "di"})
        both: dict[str, Any] = {
            "type": "union",
            "objectSets": [tickets, tickets | {"objectType": "Person"}],
        }
        with pytest.raises(BadRequestError) as mixed:
            ontologies.OntologyObjectSet.load(name, object_set=both, select=["id"])
        assert mixed.value.name == "UnsupportedObjectSet"
    assert not (real.root / "outputs").exists()


@pytest.mark.usefixtures("shell")
def test_the_variables_alone_change_nothing(real: LocalPlatform, tmp_path: Path) -> None:
    with Foundry(module(tmp_path), [sys.executable, "app.py"]) as foundry:
        files = client_of(foundry).datasets.Dataset.File
        assert [each.path for each in files.list(foundry.data["orders"])] == ["mine.csv"]
        with pytest.raises(NotFoundError):
            list(files.list(real.rid("sales")))


@pytest.mark.usefixtures("shell")
def test_a_pipeline_reads_an_input_of_the_real_foundry(real: LocalPlatform, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    resources = {"inputs": {"orders": "dataset"}, "outputs": {"copies": "dataset"}}
    (tmp_path / "src/resources.json").write_text(json.dumps(resources))
    (tmp_path / "pyproject.toml").write_text(
        f"[tool.foundry-cm.remote]\norders = '{real.rid('sales')}'\n"
    )
    (tmp_path / "app.py").write_text(
        "import json, os, requests\n"
        "from pathlib import Path\n"
        'base = "https://" + os.environ["FOUNDRY_URL"] + "/api/v2/datasets/"\n'
        'headers = {"Authorization": "Bearer " + Path(os.environ["BUILD2_TOKEN"]).read_text()}\n'
        'aliases = json.loads(Path(os.environ["RESOURCE_ALIAS_MAP"]).read_text())\n'
        'got = requests.get(base + aliases["orders"]["rid"] + "/files/a.csv/content", headers=headers)\n'
        'put = base + aliases["copies"]["rid"] + "/files/a.csv/upload"\n'
        "requests.post(put, data=got.content, headers=headers).raise_for_status()\n"
        'print("leaked", [name for name, value in os.environ.items() if "canary" in value])\n'
    )
    command = ("--", sys.executable, "app.py")
    done = cm(tmp_path, "run", "--remote", "orders", *command)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs/copies/a.csv").read_bytes() == b"id,name\n1,one\n"
    said = (
        f"REMOTE   orders is {real.rid('sales')} on {real.host}: real data, read with your token."
    )
    assert said in done.stderr and "leaked []" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    done = cm(tmp_path, "run", "--remote", "copies=" + ORDERS, *command)
    assert (done.returncode, '"copies" is not an input of this module' in done.stderr) == (2, True)


@pytest.mark.usefixtures("shell")
def test_what_the_real_foundry_refuses_is_told_at_the_start(
    real: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = module(tmp_path)

    def failure(**remote: str) -> str:
        with pytest.raises(CmError) as error:
            Foundry(folder, [sys.executable, "app.py"], remote=remote).__enter__()
        return error.value.what

    unknown = "ri.foundry.main.dataset.none"
    assert failure(orders=unknown) == (
        f"orders cannot be read on {real.host}: it answers 404 for datasets/{unknown}"
    )
    monkeypatch.setenv("FOUNDRY_TOKEN", "canary-wrong")
    assert failure(orders=real.rid("sales")) == f"{real.host} refuses the token"
    monkeypatch.setenv("FOUNDRY_HOSTNAME", "localhost:9")
    assert failure(orders=real.rid("sales")).startswith("localhost:9 cannot be reached")
    monkeypatch.delenv("FOUNDRY_TOKEN")
    assert failure(orders=real.rid("sales")).startswith("--remote needs FOUNDRY_TOKEN")


def test_the_token_goes_to_the_named_host_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = module(tmp_path / "module")
    with upstream(tmp_path) as other:
        monkeypatch.setenv("FOUNDRY_HOSTNAME", urlsplit(other.url).netloc)
        monkeypatch.setenv("FOUNDRY_TOKEN", CANARY)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.ca))
        other.redirects[f"/api/v2/datasets/{ORDERS}/files/a/content"] = f"{other.url}/elsewhere"
        with Foundry(folder, [sys.executable, "app.py"], remote={"orders": ORDERS}) as foundry:
            with pytest.raises(InternalServerError):
                client_of(foundry).datasets.Dataset.File.content(ORDERS, "a")
            # A RID opens what is below it, and nothing that a path reaches by way of it.
            for path in (
                f"/api/v2/admin/users/{ORDERS}",
                f"/api/v2/datasets/{ORDERS}/../../admin/users",
                f"/api/v2/datasets/{ORDERS}/files/..%2F..%2F{PHOTOS}/content",
                f"/api/v2/datasets/{ORDERS}/files/%252e%252e%255cb/content",
            ):
                assert answered(foundry, path) in (400, 404), path
    # The look at the start, and the read that was not followed; the module's own token stays here.
    assert other.authorizations == [f"Bearer {CANARY}"] * 2


def test_a_name_without_a_rid_and_what_is_none_are_refused() -> None:
    assert chosen(["orders", f"photos={PHOTOS}"], {"orders": ORDERS}) == {
        "orders": ORDERS,
        "photos": PHOTOS,
    }
    for asked, what in (
        ("order", 'cm does not know the RID of "order" in Foundry'),
        ("a=../secret", '"../secret" is not the RID of a dataset, a media set or an Ontology'),
    ):
        with pytest.raises(CmError) as error:
            chosen([asked], {"orders": ORDERS})
        assert error.value.what == what
