"""The command that writes the files of the gateway."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.tool_cache import ToolCache, ToolUnavailable
from gateway.config import as_yaml, bootstrap
from gateway.descriptors import descriptor_set
from gateway.listeners import certificate_secret
from gateway.options import Address, OptionError, Options
from gateway.reference import write_reference
from gateway.rules import load_rules

_DEFAULT_FOLDER: Final = Path("build/gateway")
_CERTIFICATE: Final = "certificate.yaml"


def arguments_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="deploy/envoy/build",
        description="Write Envoy's configuration for the HTTP gateway: JSON, gRPC-Web and gRPC.",
    )
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        default=_DEFAULT_FOLDER,
        metavar="FOLDER",
        help="where the files are written (%(default)s)",
    )
    add(
        "--mounted-at",
        type=Path,
        metavar="FOLDER",
        help="where Envoy finds the files, such as a folder of its container (that of --out)",
    )
    add(
        "--listen",
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="address for callers (%(default)s)",
    )
    add(
        "--upstream",
        action="append",
        required=True,
        metavar="HOST:PORT",
        help="a server; repeat it for each. All addresses of a name are servers",
    )
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin of pages that may call, such as https://console.example; repeat it for each",
    )
    add("--tls-cert", type=Path, metavar="FILE", help="the gateway's certificate in PEM")
    add("--tls-key", type=Path, metavar="FILE", help="its private key in PEM")
    add(
        "--upstream-ca",
        type=Path,
        metavar="FILE",
        help="authorities of the servers' certificates in PEM; without it, plain text",
    )
    add(
        "--upstream-name",
        metavar="NAME",
        help="name in the servers' certificates (host of the first --upstream)",
    )
    add(
        "--admin",
        metavar="HOST:PORT",
        help="address of Envoy's own pages, such as its metrics; a loopback address",
    )
    add("--access-log", action="store_true", help="log each request to standard output, as JSON")
    add(
        "--reference",
        action="store_true",
        help="serve /openapi.json, and the reference page under /reference/",
    )
    add(
        "--static",
        action="append",
        default=[],
        metavar="HOST:PORT=FOLDER",
        help="serve a folder's files to browsers on an address of its own; repeat it for each",
    )
    add(
        "--static-connect",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin that pages of --static may call, such as the gateway's; repeat it for each",
    )
    return parser


def options_of(arguments: argparse.Namespace) -> Options:
    """Return the options of a command line.

    Raises:
        OptionError: a value is not accepted.
    """
    admin = Address.parse("--admin", arguments.admin) if arguments.admin else None
    return Options(
        listen=Address.parse("--listen", arguments.listen),
        upstreams=[Address.parse("--upstream", each) for each in arguments.upstream],
        allow_origins=arguments.allow_origin,
        certificate_file=_certificate_file(arguments),
        upstream_ca=arguments.upstream_ca,
        upstream_name=arguments.upstream_name,
        admin=admin,
        access_log=arguments.access_log,
        reference=arguments.out / "site" if arguments.reference else None,
        static=[_static(text) for text in arguments.static],
        static_connect=arguments.static_connect,
    )


def _static(text: str) -> tuple[Address, Path]:
    address, _, folder = text.partition("=")
    if not folder:
        raise OptionError(f"--static: {text!r} is not HOST:PORT=FOLDER")
    return Address.parse("--static", address), Path(folder)


def _certificate_file(arguments: argparse.Namespace) -> Path | None:
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        raise OptionError("--tls-cert and --tls-key: both are needed, or neither")
    folder: Path = arguments.mounted_at or arguments.out.absolute()
    return None if arguments.tls_cert is None else folder / _CERTIFICATE


def main(argv: Sequence[str]) -> int:
    """Write the files; return 0, or 2 after a wrong option."""
    parser = arguments_parser()
    arguments = parser.parse_args(argv)
    rules = load_rules()
    folder: Path = arguments.out
    try:
        options = options_of(arguments)
        folder.mkdir(parents=True, exist_ok=True)
        if options.reference is not None:
            write_reference(options.reference, ToolCache(report=print))
        made = as_yaml(bootstrap(rules, options))
    except (OptionError, ToolUnavailable) as error:
        parser.error(str(error))
    if options.certificate_file is not None:
        secret = certificate_secret(arguments.tls_cert.absolute(), arguments.tls_key.absolute())
        (folder / _CERTIFICATE).write_text(as_yaml(secret), encoding="utf-8")
    descriptors = descriptor_set(rules).SerializeToString(deterministic=True)
    (folder / "descriptors.binpb").write_bytes(descriptors)
    config = folder / "envoy.yaml"
    config.write_text(made, encoding="utf-8")
    sys.stdout.write(f"wrote {config}: run it with envoy --config-path {config}\n")
    return 0
