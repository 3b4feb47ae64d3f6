"""A real Envoy with the configuration that `deploy/envoy/build` writes."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gateway.config import as_yaml, bootstrap
from gateway.options import Address, Options
from gateway.rules import load_rules
from tests.support.backends import find_tool
from tests.support.lengths import PATIENCE
from tests.support.processes import free_port

JSON: Final = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to an HTTP request."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode()

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.text)

    @property
    def lines(self) -> list[Any]:
        """The messages of a stream, which are JSON, one a line."""
        assert self.headers["content-type"] == "application/x-ndjson", self
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def refusal(self) -> tuple[int, int, str]:
        """HTTP's status, gRPC's code and the reason of an error. Its body must be a `Status`."""
        body = self.json
        assert body.keys() == {"code", "message", "details"}, body
        assert body["message"], body
        (info,) = [each for each in body["details"] if each["@type"].endswith(".ErrorInfo")]
        assert info["domain"] == "dynamodb-processor"
        return self.status, body["code"], info["reason"]

    @property
    def violations(self) -> dict[str, str]:
        """The description of each invalid field."""
        found: dict[str, str] = {}
        for each in self.json["details"]:
            for violation in each.get("fieldViolations", ()):
                found[violation["field"]] = violation["description"]
        return found


@dataclass(slots=True, eq=False)
class Gateway:
    """A running Envoy; `headers` are sent with each request, such as an API key."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path
    tls: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The gateway's origin."""
        return f"http{'s' if self.tls else ''}://{self.address}"

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection, which the caller closes."""
        if self.tls is not None:
            return http.client.HTTPSConnection(self.address, timeout=PATIENCE, context=self.tls)
        return http.client.HTTPConnection(self.address, timeout=PATIENCE)

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Make a request; a body that is neither text nor bytes is sent as JSON."""
        sent = self.headers | dict(JSON if body is not None else {}) | dict(headers or {})
        if body is not None and not isinstance(body, str | bytes):
            body = json.dumps(body)
        content = body.encode() if isinstance(body, str) else body
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, content, {k: v for k, v in sent.items() if v})
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, received, response.read())

    def get(self, path: str, **headers: str) -> Answer:
        """Make a GET request."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Make a POST request."""
        return self.request("POST", path, body, headers)

    def wait_until_ready(self, status: int = 200) -> None:
        """Wait until the health page has a status: 200 while a server is ready, else 503."""
        end = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/healthz").status == status:
                    return
            assert time.monotonic() < end, self.log.read_text(encoding="utf-8")
            time.sleep(0.05)

    @property
    def script_errors(self) -> list[str]:
        """The lines of the log about the filter's script: such a request passes unchecked."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "[lua]" in line]


@contextlib.contextmanager
def running_gateway(
    folder: Path,
    *upstreams: str,
    listen: Address | None = None,
    ready: bool = True,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float | None = None,
    **options: Any,
) -> Iterator[Gateway]:
    """Run a gateway during the `with`.

    Args:
        folder: Where its configuration and its log are written.
        upstreams: The servers behind it, as HOST:PORT.
        listen: Its address; by default a free port.
        ready: Whether to wait until a server behind it is ready.
        tls: How its callers trust it, if it has a certificate.
        headers: Headers of each request, such as an API key.
        seconds: The timeout of calls, of requests and of silent streams, instead of the real ones.
        options: Further fields of its `Options`.
    """
    listen = listen or Address("127.0.0.1", free_port())
    servers = [Address.parse("--upstream", each) for each in upstreams]
    config = folder / "envoy.yaml"
    made = bootstrap(load_rules(), Options(listen=listen, upstreams=servers, **options))
    text = as_yaml(made)
    if seconds is not None:
        text = re.sub(
            r"^( *(?:request_|idle_)?timeout): (?:15|30|35)s$",
            rf"\1: {seconds}s",
            text,
            flags=re.MULTILINE,
        )
    config.write_text(text, encoding="utf-8")
    log = folder / "envoy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(str(find_tool("envoy")), "--config-path", str(config), "--log-level", "warning"),
                *("--concurrency", "1", "--disable-hot-restart", "--drain-time-s", "1"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    gateway = Gateway(str(listen), process, log, tls, dict(headers or {}))
    try:
        gateway.wait_until_ready(200 if ready else 503)
        yield gateway
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert not gateway.script_errors, gateway.script_errors
