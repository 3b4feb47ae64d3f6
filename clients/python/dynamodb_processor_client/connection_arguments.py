"""The options of `ddbq` that all its commands share: the connection, and a profile for it."""

from __future__ import annotations

import argparse
import math

import grpc

from dynamodb_processor_client.assignments import utf8
from dynamodb_processor_client.channel import ChannelOptions
from dynamodb_processor_client.tls import tls_credentials

DEFAULT_TARGET = "127.0.0.1:50051"


def add_connection_arguments(parser: argparse.ArgumentParser, *, timeout: float | None) -> None:
    """Add the options; `timeout` is the default in seconds, None for none."""
    parser.set_defaults(parser=parser)
    add = parser.add_argument
    limit = "none" if timeout is None else f"{timeout:g}"
    add(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=timeout,
        help=f"give up after this long (default: {limit})",
    )
    add(
        "--profile",
        metavar="NAME",
        type=utf8,
        help="take the connection from this profile of the configuration file, instead of from the "
        "other variables; options count before it (default: $DDBQ_PROFILE)",
    )
    add(
        "--target", metavar="ADDRESS", type=utf8, help=f"default: $DDBQ_TARGET, or {DEFAULT_TARGET}"
    )
    add("--api-key", metavar="KEY", help="default: $DDBQ_API_KEY, where other users cannot see it")
    add(
        "--bearer-token-file",
        metavar="FILE",
        type=utf8,
        help="send the bearer token in this file instead of an API key; it is read before each "
        "call (default: $DDBQ_BEARER_TOKEN_FILE, or the token in $DDBQ_BEARER_TOKEN)",
    )
    add_tls_arguments(parser)


def add_tls_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of TLS."""
    add = parser.add_argument
    add(
        "--tls",
        action="store_true",
        help="connect with TLS; each of the next options implies it (default: plain text)",
    )
    add(
        "--cacert",
        metavar="FILE",
        type=utf8,
        help="trust the certificates in this PEM file (default: those that the system trusts)",
    )
    add("--cert", metavar="FILE", type=utf8, help="a client certificate in PEM")
    add(
        "--cert-key",
        metavar="FILE",
        type=utf8,
        help="its private key in PEM (default: in the file of --cert)",
    )
    add(
        "--server-name",
        metavar="NAME",
        type=utf8,
        help="the name that the server's certificate has (default: the host of the target)",
    )


def credentials_of(
    arguments: argparse.Namespace, roots: str | None
) -> grpc.ChannelCredentials | None:
    """Return the credentials that the options of TLS give; None for plain text.

    `roots` is a file of trusted certificates that `--cacert` overrides, the value of gRPC's own
    variable for it. Sets `arguments.tls`. Raises ValueError for a wrong file.
    """
    files = arguments.cacert, arguments.cert, arguments.cert_key
    arguments.tls = arguments.tls or arguments.server_name is not None or any(files)
    if not arguments.tls:
        return None
    cacert = arguments.cacert or roots or None
    try:
        return tls_credentials(cacert, cert=arguments.cert, cert_key=arguments.cert_key)
    except ValueError as error:
        name, _, reason = str(error).partition(": ")
        raise ValueError(f"--{name.replace('_', '-')}: {reason}") from None


def name_options(arguments: argparse.Namespace) -> ChannelOptions:
    """Return the options of a channel to a server whose certificate has another name."""
    name = arguments.server_name
    return [("grpc.ssl_target_name_override", name)] if name else ()


def _seconds(argument: str) -> float:
    try:
        seconds = float(argument)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"not a number of seconds above 0: {argument!r}")
    return seconds
