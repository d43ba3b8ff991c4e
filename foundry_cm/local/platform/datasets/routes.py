"""The routes of `client.datasets` and the two raw ones of the documentation's sample."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from foundry_cm.local.platform import tables
from foundry_cm.local.platform.datasets.dataset import Dataset, FileEntry, Transaction
from foundry_cm.local.platform.datasets.inputs import InputDataset
from foundry_cm.local.platform.datasets.store import OutputDataset
from foundry_cm.local.platform.errors import ApiError
from foundry_cm.local.platform.registry import REGISTRY
from foundry_cm.local.platform.requests import json_body, number, page, preview, receive, send
from foundry_cm.local.platform.resources import DEFAULT_BRANCH, checked_path

BASE = "/api/v2/datasets/{dataset}"


def routes() -> list[web.RouteDef]:
    """Every dataset route; the names say at which point faults strike."""
    transaction = f"{BASE}/transactions/{{transaction}}"
    return [
        web.get(BASE, get_dataset),
        web.get(f"{BASE}/branches", list_branches),
        web.get(f"{BASE}/branches/{{branch}}", get_branch),
        web.get(f"{BASE}/branches/{{branch}}/transactions", branch_history, name="history-branch"),
        web.get(f"{BASE}/transactions", dataset_history, name="history-dataset"),
        web.post(f"{BASE}/transactions", open_transaction, name="open"),
        web.get(transaction, get_transaction),
        web.post(f"{transaction}/commit", commit, name="commit"),
        web.post(f"{transaction}/abort", abort, name="abort"),
        web.get(f"{transaction}/job", transaction_job),
        web.get(f"{BASE}/files", list_files, name="list-files"),
        web.get(f"{BASE}/files/{{path}}/content", file_content, name="read-content"),
        web.post(f"{BASE}/files/{{path}}/upload", upload, name="upload-file"),
        web.get(f"{BASE}/files/{{path}}", get_file),
        web.get(f"{BASE}/readTable", read_table, name="read-table"),
        web.get(f"{BASE}/getSchema", get_schema),
        web.put(f"{BASE}/putSchema", put_schema),
        web.get(
            "/foundry-catalog/api/catalog/datasets/{dataset}/views2/{branch}/files",
            catalog_files,
            name="list-catalog",
        ),
        web.get(
            "/foundry-data-proxy/api/dataproxy/datasets/{dataset}/views/{branch}/{path:.+}",
            proxied_file,
            name="read-proxy",
        ),
    ]


# Datasets, branches and transactions


def _dataset(request: web.Request) -> Dataset:
    return request.app[REGISTRY].dataset(request.match_info["dataset"])


def _output(request: web.Request, error: str, **parameters: Any) -> OutputDataset:
    """The dataset, if it is one that may be written."""
    dataset = _dataset(request)
    if not isinstance(dataset, OutputDataset):
        raise ApiError(error, status=403, datasetRid=dataset.resource.rid, **parameters)
    return dataset


async def get_dataset(request: web.Request) -> web.Response:
    """Rid and name; the folder is the one that stands for the project."""
    resource = _dataset(request).resource
    return web.json_response(
        {
            "rid": resource.rid,
            "name": resource.alias,
            "parentFolderRid": "ri.compass.main.folder.00000000-0000-0000-0000-000000000001",
        }
    )


def _branch_json(name: str, head: str | None) -> dict[str, str]:
    return {"name": name, **({"transactionRid": head} if head else {})}


async def list_branches(request: web.Request) -> web.Response:
    """The one branch with its last committed transaction."""
    head = _dataset(request).head(DEFAULT_BRANCH)
    return page(request, [_branch_json(DEFAULT_BRANCH, head)], 100, 1000)


async def get_branch(request: web.Request) -> web.Response:
    """A branch by its name."""
    name = request.match_info["branch"]
    return web.json_response(_branch_json(name, _dataset(request).head(name)))


def _history(request: web.Request, branch: str) -> web.Response:
    preview(request)
    newest_first = reversed(_dataset(request).history(branch))
    return page(request, [each.as_json() for each in newest_first], 20, 50)


async def branch_history(request: web.Request) -> web.Response:
    """The transactions of a branch, newest first, open ones too."""
    return _history(request, request.match_info["branch"])


async def dataset_history(request: web.Request) -> web.Response:
    """The transactions of the default branch, newest first."""
    return _history(request, DEFAULT_BRANCH)


def _transaction(request: web.Request) -> Transaction:
    return _dataset(request).transaction(request.match_info["transaction"])


async def get_transaction(request: web.Request) -> web.Response:
    """One transaction."""
    return web.json_response(_transaction(request).as_json())


async def transaction_job(request: web.Request) -> web.Response:
    """The job behind a transaction; an empty answer where no build opened it."""
    preview(request)
    job = _transaction(request).job
    return web.Response(status=204) if job is None else web.json_response(job)


async def open_transaction(request: web.Request) -> web.Response:
    """Opens a transaction on a branch."""
    branch = request.query.get("branchName", DEFAULT_BRANCH)
    dataset = _output(request, "CreateTransactionPermissionDenied", branchName=branch)
    kind = str((await json_body(request)).get("transactionType", ""))
    return web.json_response(dataset.open(branch, kind).as_json())


def _closable(request: web.Request, error: str) -> tuple[OutputDataset, str]:
    rid = request.match_info["transaction"]
    dataset = _output(request, error, transactionRid=rid)
    if dataset.transaction(rid).job is not None:
        # Inferred: what the build system opened is the build system's to close.
        raise ApiError(error, status=403, datasetRid=dataset.resource.rid, transactionRid=rid)
    return dataset, rid


async def commit(request: web.Request) -> web.Response:
    """Commits an open transaction."""
    dataset, rid = _closable(request, "CommitTransactionPermissionDenied")
    return web.json_response(dataset.commit(rid).as_json())


async def abort(request: web.Request) -> web.Response:
    """Aborts an open transaction."""
    dataset, rid = _closable(request, "AbortTransactionPermissionDenied")
    return web.json_response(dataset.abort(rid).as_json())


# Files


def _view(
    request: web.Request, *, branch_and_range: bool = False
) -> tuple[Dataset, dict[str, FileEntry]]:
    """The files that `branchName`, `startTransactionRid` and `endTransactionRid` select.

    `branch_and_range`: the branch may be named beside transactions of that branch.
    """
    dataset = _dataset(request)
    start, end = (request.query.get(f"{end}TransactionRid") for end in ("start", "end"))
    branch = request.query.get("branchName")
    given = [name for name in request.query if name in VIEW_PARAMETERS]
    if (branch and (start or end) and not branch_and_range) or (start and not end):
        raise ApiError(
            "InvalidParameterCombination",
            validCombinations=[
                ["branchName"],
                ["endTransactionRid"],
                ["startTransactionRid", "endTransactionRid"],
            ],
            providedParameters=given,
        )
    return dataset, dataset.view(branch or DEFAULT_BRANCH, start, end)


NONE = "ri.foundry.main.transaction.00000000-0000-0000-0000-000000000000"
VIEW_PARAMETERS = ("branchName", "startTransactionRid", "endTransactionRid")


def _file_json(entry: FileEntry) -> dict[str, Any]:
    return {
        "path": entry.path,
        "transactionRid": entry.transaction,
        "sizeBytes": str(entry.size),
        "updatedTime": entry.updated,
    }


def _found(request: web.Request) -> FileEntry:
    dataset, files = _view(request)
    path = checked_path(request.match_info["path"])
    if path in files:
        return files[path]
    end = request.query.get("endTransactionRid")
    if end:
        raise ApiError(
            "FileNotFoundOnTransactionRange",
            datasetRid=dataset.resource.rid,
            startTransactionRid=request.query.get("startTransactionRid"),
            endTransactionRid=end,
            path=path,
        )
    raise ApiError(
        "FileNotFoundOnBranch",
        datasetRid=dataset.resource.rid,
        branchName=request.query.get("branchName", DEFAULT_BRANCH),
        path=path,
    )


async def list_files(request: web.Request) -> web.Response:
    """The files of a view, by path."""
    dataset, files = _view(request)
    request.app[REGISTRY].activity.listed(dataset.resource.alias)
    prefix = request.query.get("pathPrefix", "")
    chosen = [_file_json(files[path]) for path in sorted(files) if path.startswith(prefix)]
    return page(request, chosen, 1000, 10_000)


async def get_file(request: web.Request) -> web.Response:
    """One file's size and time."""
    return web.json_response(_file_json(_found(request)))


async def file_content(request: web.Request) -> web.StreamResponse:
    """One file's bytes."""
    entry = _found(request)
    request.app[REGISTRY].activity.read(
        _dataset(request).resource.alias, entry.location, entry.transaction
    )
    return await send(request, entry.location, entry.size)


async def upload(request: web.Request) -> web.Response:
    """Uploads a file, to an open transaction or in one of its own."""
    path = request.match_info["path"]
    rid = request.query.get("transactionRid")
    dataset = _output(request, "UploadFilePermissionDenied", path=path, transactionRid=rid or NONE)
    checked_path(path)
    branch = request.query.get("branchName")
    kind = request.query.get("transactionType")
    if rid and (branch or kind):
        raise ApiError(
            "InvalidParameterCombination",
            validCombinations=[["transactionRid"], ["branchName", "transactionType"]],
            providedParameters=[*request.query],
        )
    received = dataset.staging()
    await receive(request, received)
    if rid:
        entry = dataset.add(rid, path, received)
    else:
        opened = dataset.open(branch or DEFAULT_BRANCH, kind or "UPDATE")
        try:
            entry = dataset.add(opened.rid, path, received)
            dataset.commit(opened.rid)
        except ApiError:
            dataset.abort(opened.rid)
            raise
    request.app[REGISTRY].activity.wrote(dataset.resource.alias)
    return web.json_response(_file_json(entry))


async def catalog_files(request: web.Request) -> web.Response:
    """The raw catalog route of the documentation's pipeline sample; `values` is inferred."""
    dataset = _dataset(request)
    request.app[REGISTRY].activity.listed(dataset.resource.alias)
    files = dataset.view(request.match_info["branch"])
    values = [
        {"logicalPath": path, "transactionRid": files[path].transaction} for path in sorted(files)
    ]
    size = number(request, "pageSize", 1000, "InvalidPageSize")
    return web.json_response({"values": values[:size], "nextPageToken": None})


async def proxied_file(request: web.Request) -> web.StreamResponse:
    """The raw data-proxy route of the documentation's pipeline sample."""
    dataset, path = _dataset(request), checked_path(request.match_info["path"])
    branch = request.match_info["branch"]
    files = dataset.view(branch)
    if path not in files:
        raise ApiError(
            "FileNotFoundOnBranch", datasetRid=dataset.resource.rid, branchName=branch, path=path
        )
    entry = files[path]
    request.app[REGISTRY].activity.read(dataset.resource.alias, entry.location, entry.transaction)
    return await send(request, entry.location, entry.size)


# Tables and schemas


def _schema(request: web.Request, dataset: Dataset, files: dict[str, FileEntry]) -> Any:
    known = dataset.schema
    if known is None and isinstance(dataset, InputDataset):
        known = tables.inferred_schema([each.location for each in tables.data_files(files)])
    if known is None:
        branch = request.query.get("branchName", DEFAULT_BRANCH)
        raise ApiError("SchemaNotFound", datasetRid=dataset.resource.rid, branchName=branch)
    return known


def _schema_json(dataset: Dataset, schema: Any, branch: str) -> web.Response:
    head = dataset.head(branch)
    if head is None:
        raise ApiError("DatasetViewNotFound", datasetRid=dataset.resource.rid, branch=branch)
    return web.json_response(
        {
            "branchName": branch,
            "endTransactionRid": head,
            "schema": schema,
            "versionId": head.rpartition(".")[2],
        }
    )


async def get_schema(request: web.Request) -> web.Response:
    """The schema that was put, or for an input the one its files have."""
    dataset = _dataset(request)
    branch = request.query.get("branchName", DEFAULT_BRANCH)
    files = dataset.view(branch)
    return _schema_json(dataset, _schema(request, dataset, files), branch)


async def put_schema(request: web.Request) -> web.Response:
    """Sets the schema of a branch."""
    dataset = _output(request, "PutDatasetSchemaPermissionDenied")
    body = await json_body(request)
    branch = body.get("branchName") or DEFAULT_BRANCH
    dataset.history(branch)
    schema = tables.checked_schema(body.get("schema"))
    dataset.put_schema(schema)
    return _schema_json(dataset, schema, branch)


async def read_table(request: web.Request) -> web.Response:
    """The rows of a view as an Arrow stream or as CSV."""
    kind = request.query.get("format", "")
    if kind not in ("ARROW", "CSV"):
        raise ApiError("InvalidTableExportFormat", status=400, format=kind, known="ARROW, CSV")
    dataset, files = _view(request, branch_and_range=True)
    columns = request.query.getall("columns", [])
    limit = number(request, "rowLimit", -1, "InvalidParameterValue")
    body, rows = await asyncio.to_thread(
        tables.export,
        dataset.resource.rid,
        files,
        _schema(request, dataset, files),
        kind,
        columns,
        None if limit < 0 else limit,
    )
    activity, alias = request.app[REGISTRY].activity, dataset.resource.alias
    activity.listed(alias)
    if limit >= 0:
        activity.read_rows(alias, rows)
    else:
        for entry in tables.data_files(files):
            activity.read(alias, entry.location, entry.transaction)
    return web.Response(body=body, content_type="application/octet-stream")
