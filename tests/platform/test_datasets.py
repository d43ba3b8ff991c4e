"""`client.datasets` against the local platform."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest
from foundry_sdk import BadRequestError, NotFoundError, PermissionDeniedError
from foundry_sdk.v2.core import errors as core_errors
from foundry_sdk.v2.core.models import DatasetFieldSchema, DatasetSchema
from foundry_sdk.v2.datasets import errors
from pyarrow import parquet

from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.registry import Registry
from tests.platforms import LocalPlatform

# The client warns and falls back to a general exception when parameters are missing.
pytestmark = pytest.mark.filterwarnings("error:.*Deserialization failed")

SCHEMA = DatasetSchema(
    field_schema_list=[
        DatasetFieldSchema(type="LONG", name="id", nullable=True),
        DatasetFieldSchema(type="STRING", name="text", nullable=True),
    ]
)
CSV = b"id,text\n1,one\n2,two\n"


def write_input(platform: LocalPlatform, name: str = "a.csv", content: bytes = CSV) -> None:
    path = platform.root / "data" / "input" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_committed_transaction_is_a_plain_file(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    upload = client.datasets.Dataset.File.upload
    upload(rid, "part/a.csv", CSV, transaction_rid=opened.rid)
    assert list(client.datasets.Dataset.File.list(rid)) == []
    committed = client.datasets.Dataset.Transaction.commit(rid, opened.rid)
    assert (committed.status, committed.closed_time is not None) == ("COMMITTED", True)
    assert (platform.root / "outputs/output/part/a.csv").read_bytes() == CSV
    [file] = client.datasets.Dataset.File.list(rid)
    assert (file.path, file.size_bytes, file.transaction_rid) == ("part/a.csv", 20, opened.rid)
    assert client.datasets.Dataset.File.content(rid, "part/a.csv") == CSV
    assert client.datasets.Dataset.File.get(rid, "part/a.csv").path == "part/a.csv"
    assert client.datasets.Dataset.Branch.get(rid, "master").transaction_rid == opened.rid
    assert client.datasets.Dataset.get(rid).name == "output"


def test_an_aborted_transaction_leaves_nothing(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    client.datasets.Dataset.File.upload(rid, "a.csv", CSV, transaction_rid=opened.rid)
    assert client.datasets.Dataset.Transaction.abort(rid, opened.rid).status == "ABORTED"
    assert list(client.datasets.Dataset.File.list(rid)) == []
    assert not (platform.root / "outputs/output/a.csv").exists()
    with pytest.raises(errors.TransactionNotOpen) as caught:
        client.datasets.Dataset.Transaction.commit(rid, opened.rid)
    assert caught.value.parameters["transactionStatus"] == "ABORTED"


def test_one_open_transaction_a_branch(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    with pytest.raises(errors.OpenTransactionAlreadyExists):
        client.datasets.Dataset.Transaction.create(rid, transaction_type="UPDATE")
    with pytest.raises(errors.OpenTransactionAlreadyExists):
        client.datasets.Dataset.File.upload(rid, "b.csv", CSV)


def test_an_open_transaction_shows_its_files_when_it_is_named(
    platform: LocalPlatform, client: Any
) -> None:
    rid = platform.rid("output")
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    client.datasets.Dataset.File.upload(rid, "a.csv", CSV, transaction_rid=opened.rid)
    ends = {"start_transaction_rid": opened.rid, "end_transaction_rid": opened.rid}
    assert [file.path for file in client.datasets.Dataset.File.list(rid, **ends)] == ["a.csv"]
    assert client.datasets.Dataset.File.content(rid, "a.csv", **ends) == CSV


def test_a_path_is_written_once_in_a_transaction(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    client.datasets.Dataset.File.upload(rid, "a.csv", CSV, transaction_rid=opened.rid)
    with pytest.raises(errors.FileAlreadyExists):
        client.datasets.Dataset.File.upload(rid, "a.csv", CSV, transaction_rid=opened.rid)


def test_an_append_may_not_change_a_file(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    client.datasets.Dataset.File.upload(rid, "a.csv", CSV)
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    client.datasets.Dataset.File.upload(rid, "a.csv", b"id\n", transaction_rid=opened.rid)
    with pytest.raises(NotFoundError, match="FileAlreadyExists"):
        client.datasets.Dataset.Transaction.commit(rid, opened.rid)
    client.datasets.Dataset.Transaction.abort(rid, opened.rid)
    client.datasets.Dataset.File.upload(rid, "a.csv", b"id\n")
    assert client.datasets.Dataset.File.content(rid, "a.csv") == b"id\n"


def test_a_snapshot_replaces_and_a_range_still_reads(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    first = client.datasets.Dataset.File.upload(rid, "a.csv", CSV)
    client.datasets.Dataset.File.upload(rid, "b.csv", CSV, transaction_type="SNAPSHOT")
    assert [file.path for file in client.datasets.Dataset.File.list(rid)] == ["b.csv"]
    assert sorted(p.name for p in (platform.root / "outputs/output").glob("*.csv")) == ["b.csv"]
    old = client.datasets.Dataset.File.list(rid, end_transaction_rid=first.transaction_rid)
    assert [file.path for file in old] == ["a.csv"]
    content = client.datasets.Dataset.File.content
    assert content(rid, "a.csv", end_transaction_rid=first.transaction_rid) == CSV


def test_there_is_the_default_branch(platform: LocalPlatform, client: Any) -> None:
    rid, branch = platform.rid("output"), client.datasets.Dataset.Branch
    assert [(each.name, each.transaction_rid) for each in branch.list(rid)] == [("master", None)]
    file = client.datasets.Dataset.File.upload(rid, "a.csv", CSV)
    assert branch.get(rid, "master").transaction_rid == file.transaction_rid
    with pytest.raises(errors.BranchNotFound):
        branch.get(rid, "dev")
    with pytest.raises(errors.BranchNotFound):
        client.datasets.Dataset.File.upload(rid, "b.csv", CSV, branch_name="../escape")


def test_a_file_of_somebody_else_stays_in_an_output(platform: LocalPlatform, client: Any) -> None:
    rid, notes = platform.rid("output"), platform.root / "outputs/output/notes.txt"
    client.datasets.Dataset.File.upload(rid, "a.csv", CSV)
    notes.write_text("mine")
    client.datasets.Dataset.File.upload(rid, "b.csv", CSV, transaction_type="SNAPSHOT")
    Registry(platform.root, platform.registry.resources)
    shown = sorted(path.name for path in notes.parent.iterdir())
    assert shown == [".cm", "b.csv", "notes.txt"]


def test_history_is_newest_first_and_preview_only(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    for name in "abc":
        client.datasets.Dataset.File.upload(rid, f"{name}.csv", CSV)
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    history = client.datasets.Dataset.Branch.transactions(rid, "master", preview=True, page_size=2)
    found = list(history)
    assert [each.status for each in found] == ["OPEN", "COMMITTED", "COMMITTED", "COMMITTED"]
    assert found[0].rid == opened.rid
    assert [each.rid for each in client.datasets.Dataset.transactions(rid, preview=True)] == [
        each.rid for each in found
    ]
    with pytest.raises(BadRequestError, match="ApiFeaturePreviewUsageOnly"):
        list(client.datasets.Dataset.Branch.transactions(rid, "master"))
    assert client.datasets.Dataset.Transaction.get(rid, opened.rid).status == "OPEN"


def test_a_job_tells_the_build_systems_transaction(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    transaction = client.datasets.Dataset.Transaction
    own = transaction.create(rid, transaction_type="APPEND")
    assert transaction.job(rid, own.rid, preview=True) is None
    transaction.abort(rid, own.rid)
    job = "ri.foundry.main.job.00000000-0000-0000-0000-000000000001"
    output = platform.registry.dataset(rid)
    assert isinstance(output, OutputDataset)
    theirs = output.open("master", "APPEND", job=job)
    assert transaction.job(rid, theirs.rid, preview=True) == job
    with pytest.raises(errors.CommitTransactionPermissionDenied):
        transaction.commit(rid, theirs.rid)


def test_listing_pages_and_prefixes(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    for number in range(5):
        path = f"{'x' if number < 3 else 'y'}/{number}.csv"
        client.datasets.Dataset.File.upload(rid, path, CSV, transaction_rid=opened.rid)
    client.datasets.Dataset.Transaction.commit(rid, opened.rid)
    assert len(list(client.datasets.Dataset.File.list(rid, page_size=2))) == 5
    assert len(list(client.datasets.Dataset.File.list(rid, path_prefix="y/"))) == 2
    with pytest.raises(core_errors.InvalidPageSize):
        list(client.datasets.Dataset.File.list(rid, page_size=0))


@pytest.mark.parametrize("path", ["../a.csv", "a/../../b", "/a.csv", "a//b", ".cm/state.json"])
def test_a_path_that_leaves_the_dataset_is_refused(
    platform: LocalPlatform, client: Any, path: str
) -> None:
    with pytest.raises(core_errors.InvalidFilePath):
        client.datasets.Dataset.File.upload(platform.rid("output"), path, CSV)
    with pytest.raises(BadRequestError, match="InvalidFilePath"):
        client.datasets.Dataset.File.content(platform.rid("output"), path)
    assert sorted(platform.root.glob("**/a.csv")) == []


def test_names_that_are_not_there(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    unknown = "ri.foundry.main.dataset.00000000-0000-0000-0000-000000000000"
    transaction = "ri.foundry.main.transaction.00000000-0000-0000-0000-000000000000"
    with pytest.raises(errors.DatasetNotFound):
        client.datasets.Dataset.get(unknown)
    with pytest.raises(errors.TransactionNotFound):
        client.datasets.Dataset.Transaction.get(rid, transaction)
    with pytest.raises(errors.BranchNotFound):
        list(client.datasets.Dataset.File.list(rid, branch_name="dev"))
    with pytest.raises(errors.FileNotFoundOnBranch):
        client.datasets.Dataset.File.content(rid, "none.csv")
    file = client.datasets.Dataset.File.upload(rid, "a.csv", CSV)
    with pytest.raises(errors.FileNotFoundOnTransactionRange):
        client.datasets.Dataset.File.content(
            rid, "none.csv", end_transaction_rid=file.transaction_rid
        )
    with pytest.raises(core_errors.InvalidParameterCombination):
        client.datasets.Dataset.File.content(
            rid, "a.csv", branch_name="master", end_transaction_rid=file.transaction_rid
        )


def test_a_table_is_read_by_branch_and_range_and_its_rows_are_counted(
    platform: LocalPlatform, client: Any
) -> None:
    write_input(platform)
    rid, dataset = platform.rid("input"), client.datasets.Dataset
    last = dataset.Branch.get(rid, "master").transaction_rid
    ends = {"start_transaction_rid": last, "end_transaction_rid": last}
    activity = platform.registry.activity
    dataset.read_table(rid, format="CSV", row_limit=1)
    assert (activity.rows_read["input"], activity.files_read) == (1, {})
    table = dataset.read_table(rid, format="ARROW", branch_name="master", **ends).to_pyarrow()
    assert table.num_rows == 2
    assert activity.files_read == {"input": {platform.root / "data/input/a.csv"}}


def test_an_input_is_read_and_never_written(platform: LocalPlatform, client: Any) -> None:
    write_input(platform)
    rid = platform.rid("input")
    [file] = client.datasets.Dataset.File.list(rid)
    assert client.datasets.Dataset.File.content(rid, "a.csv") == CSV
    with pytest.raises(errors.UploadFilePermissionDenied):
        client.datasets.Dataset.File.upload(rid, "b.csv", CSV)
    with pytest.raises(errors.CreateTransactionPermissionDenied):
        client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    with pytest.raises(PermissionDeniedError):
        client.datasets.Dataset.put_schema(rid, schema=SCHEMA)
    write_input(platform, "b.csv")
    write_input(platform, content=CSV + b"3,three\n")
    after = {each.path: each for each in client.datasets.Dataset.File.list(rid)}
    assert sorted(after) == ["a.csv", "b.csv"]
    assert after["a.csv"].transaction_rid != file.transaction_rid


def test_read_table_in_arrow_and_csv(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    sink = io.BytesIO()
    parquet.write_table(pa.table({"id": pa.array([3], pa.int64()), "text": ["three"]}), sink)
    client.datasets.Dataset.File.upload(rid, "a.csv", CSV)
    client.datasets.Dataset.File.upload(rid, "b.parquet", sink.getvalue())
    client.datasets.Dataset.File.upload(rid, "c.jsonl", b'{"id": 4, "text": "four"}\n')
    client.datasets.Dataset.File.upload(rid, "_checkpoint/x.json", b"not a table")
    with pytest.raises(errors.SchemaNotFound):
        client.datasets.Dataset.read_table(rid, format="ARROW")
    client.datasets.Dataset.put_schema(rid, schema=SCHEMA)
    table = client.datasets.Dataset.read_table(rid, format="ARROW").to_pyarrow()
    assert table.to_pydict() == {"id": [1, 2, 3, 4], "text": ["one", "two", "three", "four"]}
    text = client.datasets.Dataset.read_table(rid, format="CSV", columns=["text"], row_limit=1)
    assert bytes(text) == b'"text"\n"one"\n'
    with pytest.raises(errors.ReadTableError) as caught:
        client.datasets.Dataset.read_table(rid, format="ARROW", columns=["none"])
    assert caught.value.parameters["message"] == "no such column: none"


def test_read_table_with_an_array(platform: LocalPlatform, client: Any) -> None:
    datasets = client.datasets.Dataset
    vectors = pa.table({"vector": pa.array([[0.5, 1.0], []], pa.list_(pa.float64()))})
    sink = io.BytesIO()
    parquet.write_table(vectors, sink)
    write_input(platform, "a.parquet", sink.getvalue())
    [inferred] = datasets.get_schema(platform.rid("input")).schema_.field_schema_list
    assert (inferred.type, inferred.array_subtype.type) == ("ARRAY", "DOUBLE")
    output = platform.rid("output")
    datasets.File.upload(output, "a.parquet", sink.getvalue())
    datasets.put_schema(output, schema=DatasetSchema(field_schema_list=[inferred]))
    for rid in (platform.rid("input"), output):
        assert datasets.read_table(rid, format="ARROW").to_pyarrow().equals(vectors)
    with pytest.raises(errors.ColumnTypesNotSupported):
        datasets.read_table(output, format="CSV")
    field = {"name": "vector", "type": "ARRAY", "nullable": True}
    with pytest.raises(core_errors.InvalidSchema):
        datasets.put_schema(output, schema={"fieldSchemaList": [field]})


def test_schema_get_and_put(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    with pytest.raises(errors.SchemaNotFound):
        client.datasets.Dataset.get_schema(rid)
    with pytest.raises(errors.DatasetViewNotFound):
        client.datasets.Dataset.put_schema(rid, schema=SCHEMA)
    client.datasets.Dataset.File.upload(rid, "a.csv", CSV)
    client.datasets.Dataset.put_schema(rid, schema=SCHEMA)
    found = client.datasets.Dataset.get_schema(rid)
    assert [each.name for each in found.schema_.field_schema_list] == ["id", "text"]
    with pytest.raises(core_errors.InvalidSchema):
        client.datasets.Dataset.put_schema(rid, schema={"fieldSchemaList": []})
    write_input(platform)
    inferred = client.datasets.Dataset.get_schema(platform.rid("input"))
    assert [each.type for each in inferred.schema_.field_schema_list] == ["LONG", "STRING"]


def test_a_restart_keeps_what_was_committed(platform: LocalPlatform, client: Any) -> None:
    rid = platform.rid("output")
    client.datasets.Dataset.File.upload(rid, "a.csv", CSV)
    opened = client.datasets.Dataset.Transaction.create(rid, transaction_type="APPEND")
    client.datasets.Dataset.File.upload(rid, "b.csv", CSV, transaction_rid=opened.rid)
    (platform.root / "outputs/output/a.csv").unlink()
    again = Registry(platform.root, platform.registry.resources).dataset(rid)
    assert isinstance(again, OutputDataset)
    assert list(again.view("master")) == ["a.csv"]
    assert (platform.root / "outputs/output/a.csv").read_bytes() == CSV
    assert list(again.view("master", opened.rid, opened.rid)) == ["b.csv"]


def test_the_raw_routes_of_the_documentation(platform: LocalPlatform) -> None:
    import httpx

    write_input(platform, "folder/a.csv")
    rid = platform.rid("input")
    headers = {"Authorization": f"Bearer {platform.tokens.pipeline}"}
    with httpx.Client(base_url=platform.url, headers=headers, verify=platform.tls) as raw:
        base = f"/foundry-catalog/api/catalog/datasets/{rid}/views2/master/files"
        listed = raw.get(f"{base}?pageSize=100&includeOpenExclusiveTransaction=false").json()
        [path] = [each["logicalPath"] for each in listed["values"]]
        proxy = f"/foundry-data-proxy/api/dataproxy/datasets/{rid}/views/master"
        assert raw.get(f"{proxy}/{path}").content == CSV
        assert raw.get(f"{proxy}/..%2f..%2fBUILD2_TOKEN").status_code == 400
