"""The address of the demo's server, and an API key for it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field, replace

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from dynamodb_processor_client import QueryClient


@dataclass(frozen=True, slots=True)
class Connection:
    """An address and an API key, which may be wrong."""

    address: str
    api_key: str = field(repr=False)

    def with_key(self, api_key: str) -> Connection:
        """Return the same address with another key."""
        return replace(self, api_key=api_key)

    def client(self) -> QueryClient:
        """Return a client; `async with` opens it."""
        # The server is on this machine: a proxy in the environment does not apply.
        return QueryClient(
            self.address, api_key=self.api_key, options=(("grpc.enable_http_proxy", 0),)
        )

    def grpcurl(self, method: MethodDescriptor, request: Message) -> str:
        """Return the command line that sends the request."""
        fields = MessageToDict(request, preserving_proto_field_name=True)
        query = fields.get("query", {})
        if "parameters" in query:  # a map has no fixed order
            query["parameters"] = dict(sorted(query["parameters"].items()))
        data = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        service = method.containing_service.full_name
        header = f"x-api-key: {self.api_key}"
        command = ["grpcurl", "-plaintext", "-H", header]
        if fields:
            command += ["-d", data]
        return shlex.join([*command, self.address, f"{service}/{method.name}"])

    def plain_grpcurl(self, *arguments: str) -> str:
        """Return a command line for reflection or health, which need no key."""
        return shlex.join(["grpcurl", "-plaintext", self.address, *arguments])
