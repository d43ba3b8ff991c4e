"""Errors in the platform's own envelope.

`foundry_sdk` picks its typed exception by `errorName` and checks `parameters` against a typed
dictionary, so names and parameters here are the ones its `errors.py` modules declare
(foundry-platform-sdk 1.111.0). An error the client knows nothing of falls back to the class of the
HTTP status.
"""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any

from aiohttp import web

CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHORIZED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "CONFLICT",
    413: "REQUEST_ENTITY_TOO_LARGE",
    429: "RATE_LIMITED",
    500: "INTERNAL",
    503: "SERVICE_UNAVAILABLE",
}

STATUSES = {
    "ActionContainsDuplicateEdits": 409,
    "ActionTypeNotFound": 404,
    "ActionValidationFailed": 400,
    "AggregationAccuracyNotSupported": 400,
    "AggregationGroupCountExceededLimit": 400,
    "AggregationMetricNotSupported": 400,
    "ApiFeaturePreviewUsageOnly": 400,
    "ApiUsageDenied": 403,
    "ApplyActionFailed": 400,
    "BranchAlreadyExists": 409,
    "BranchNotFound": 404,
    "ConflictingMediaSetIdentifiers": 400,
    "CreateTransactionPermissionDenied": 403,
    "DatasetNotFound": 404,
    "DatasetViewNotFound": 404,
    "DefaultAndNullGroupsNotSupported": 400,
    "DuplicateOrderBy": 400,
    "FileAlreadyExists": 404,
    "FileNotFoundOnBranch": 404,
    "FileNotFoundOnTransactionRange": 404,
    "FunctionNotFound": 404,
    "FunctionNotSupportedWithTransaction": 400,
    "InvalidAggregationOrdering": 400,
    "InvalidAggregationOrderingWithNullValues": 400,
    "InvalidAggregationRange": 400,
    "InvalidAggregationRangePropertyType": 400,
    "InvalidAggregationRangeValue": 400,
    "InvalidApplyActionOptionCombination": 400,
    "InvalidDurationGroupByPropertyType": 400,
    "InvalidDurationGroupByValue": 400,
    "InvalidFields": 400,
    "InvalidFilePath": 400,
    "InvalidMediaItemRid": 400,
    "InvalidOrderType": 400,
    "InvalidPageSize": 400,
    "InvalidPageToken": 400,
    "InvalidParameterCombination": 400,
    "InvalidParameterValue": 400,
    "InvalidPropertyFilterValue": 400,
    "InvalidPropertyType": 400,
    "InvalidPropertyValue": 400,
    "InvalidQueryOutputValue": 400,
    "InvalidQueryParameterValue": 400,
    "InvalidRequestBody": 400,
    "InvalidSchema": 400,
    "InvalidSortOrder": 400,
    "InvalidSortType": 400,
    "InvalidTransactionType": 400,
    "LinkAlreadyExists": 409,
    "LinkTypeNotFound": 404,
    "LinkedObjectNotFound": 404,
    "MalformedPropertyFilters": 400,
    "MediaItemNotFound": 404,
    "MediaItemRidAlreadyExists": 409,
    "MediaSetNotFound": 404,
    "MediaSetOpenTransactionAlreadyExists": 409,
    "MissingMediaItemContent": 400,
    "MissingMediaItemPath": 400,
    "MissingParameter": 400,
    "MissingPostBody": 400,
    "MultipleGroupByOnFieldNotSupported": 400,
    "ObjectAlreadyExists": 409,
    "ObjectEditMissingPrimaryKey": 400,
    "ObjectNotFound": 404,
    "ObjectSetNotFound": 404,
    "ObjectTypeNotFound": 404,
    "OntologyEditsExceededLimit": 400,
    "OntologyNotFound": 404,
    "OpenTransactionAlreadyExists": 409,
    "ParameterObjectNotFound": 404,
    "ParametersNotFound": 400,
    "PermissionDenied": 403,
    "PropertiesNotFound": 404,
    "PropertiesNotSearchable": 400,
    "PropertiesNotSortable": 400,
    "PropertyFiltersNotSupported": 400,
    "PublishRecordToStreamPermissionDenied": 403,
    "PutDatasetSchemaPermissionDenied": 403,
    "QueryDeploymentNotAvailable": 500,
    "QueryNotFound": 404,
    "QueryRuntimeError": 400,
    "QueryTimeExceededLimit": 400,
    "QueryVersionNotFound": 404,
    "ReadTableError": 500,
    "RecordDoesNotMatchStreamSchema": 400,
    "RecordTooLarge": 413,
    "SchemaNotFound": 404,
    "StreamNotFound": 404,
    "TransactionNotFound": 404,
    "TransactionNotOpen": 400,
    "UnknownParameter": 400,
    "UnsupportedObjectSet": 400,
    "UploadFilePermissionDenied": 403,
    "ViewNotFound": 404,
}


class ApiError(Exception):
    """An answer other than success; `name` is the platform's error name."""

    def __init__(
        self,
        name: str,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(name)
        self.name = name
        self.headers = headers
        self.status = status if status is not None else STATUSES[name]
        self.parameters = {key: value for key, value in parameters.items() if value is not None}

    def as_json(self) -> dict[str, Any]:
        """The envelope: errorCode, errorName, errorInstanceId, parameters."""
        return {
            "errorCode": CODES.get(self.status, HTTPStatus(self.status).name),
            "errorName": self.name,
            "errorInstanceId": str(uuid.uuid4()),
            "parameters": self.parameters,
        }

    def response(self) -> web.Response:
        """The error as an answer."""
        return web.json_response(self.as_json(), status=self.status, headers=self.headers)
