"""Endpoints of DynamoDB: resolved by botocore's rules, and remembered.

Account-based, dual-stack, FIPS and private endpoints, and `AWS_ENDPOINT_URL_DYNAMODB`, are as
botocore says. Its rules take about 60 µs, so an endpoint is resolved once for each account ID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, create_request_object, prepare_request_dict
from botocore.exceptions import NoRegionError
from cachetools import LRUCache
from yarl import URL

from dynamodb_processor_server.dynamodb.http_post import Destination
from dynamodb_processor_server.dynamodb.sigv4 import Signer, SigningTarget

# Of one client: a few account IDs, and tables that the catalog names by their ARNs.
_MOST_ENDPOINTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The destination of requests, and the signer for it."""

    destination: Destination
    signer: Signer


class Endpoints:
    """Resolves endpoints for an aioboto3 client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._known: LRUCache[object, Endpoint] = LRUCache(_MOST_ENDPOINTS)

    async def resolve(
        self, operation: str, request: Mapping[str, Any], account_id: str | None
    ) -> Endpoint:
        """Return the endpoint of a request, signed with credentials of this account.

        Raises botocore's exceptions, such as NoRegionError.
        """
        key = (account_id, _arns(request))
        try:
            return self._known[key]  # `.get` of cachetools costs three times as much
        except KeyError:
            endpoint = self._known[key] = await self._resolve(operation, request)
            return endpoint

    async def _resolve(self, operation: str, request: Mapping[str, Any]) -> Endpoint:
        client = self._client
        context: dict[str, Any] = {"client_region": client.meta.region_name}
        model = client.meta.service_model.operation_model(operation)
        # There is no public way to resolve an endpoint, nor to learn of proxies and signing names.
        address, _, _ = await client._resolve_endpoint_ruleset(model, request, context)  # noqa: SLF001
        signer, proxies = client._request_signer, client._endpoint.http_session._proxy_config  # noqa: SLF001
        signing = context.get("signing", {})
        region = signing.get("region") or signer._region_name  # noqa: SLF001
        if region is None:
            raise NoRegionError
        service = signing.get("signing_name") or signer._signing_name  # noqa: SLF001
        http = _request(address)
        target = _signing_target(http, region, service)
        url, proxy = URL(http.url, encoded=True), proxies.proxy_url_for(http.url)
        return Endpoint(Destination(url, target.host, proxy), Signer(target))


def _arns(request: Mapping[str, Any]) -> object:
    """Return the tables that a request names by ARN: the account in it may decide the endpoint."""
    table = request.get("TableName")
    if table is not None:
        return table if table.startswith("arn:") else None
    return tuple(name for name in request.get("RequestItems", ()) if name.startswith("arn:"))


def _request(address: str) -> AWSRequest:
    parts: dict[str, Any] = {
        "url_path": "/",
        "query_string": "",
        "method": "POST",
        "headers": {},
        "body": b"",
    }
    prepare_request_dict(parts, endpoint_url=address)
    return create_request_object(parts)


def _signing_target(http: AWSRequest, region: str, service: str) -> SigningTarget:
    """Return the fixed parts of the canonical request, as botocore writes them."""
    writer = SigV4Auth(None, service, region)
    _, path, query, *_ = writer.canonical_request(http).split("\n")
    host = writer.headers_to_sign(http)["host"]
    return SigningTarget(host, path, query, region, service)
