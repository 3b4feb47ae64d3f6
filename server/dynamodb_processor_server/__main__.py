"""The `dynamodb-processor` command.

The arguments and imports of a sub-command are loaded only if it is the one that runs: a health
probe runs every few seconds and must not load the server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from dynamodb_processor_server.errors import ConfigurationError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from dynamodb_processor_server.settings import Settings


_NOT_INSTALLED: Final = (
    "dynamodb-processor: the server is not installed here, only its client ({} is missing); "
    "install it with: pip install 'dynamodb-processor[server]', or '.[server]' in a clone"
)
_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, as the shell reports it of other commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code: 0 done, 1 failed, 2 used wrongly.

    It is 141 if the reader of standard output has closed the pipe, as `| head` does.
    """
    if arguments is None:  # the process runs nothing but this command
        signal.signal(signal.SIGTERM, _exit)
    given = sys.argv[1:] if arguments is None else arguments
    try:
        with _flushed_output():
            return _run_command(given)
    except BrokenPipeError:
        _discard_output()
        return _BROKEN_PIPE
    except _OutputFailed as error:
        _discard_output()
        print(f"standard output cannot be written: {error}", file=sys.stderr)
        return 1


def _run_command(given: Sequence[str]) -> int:
    """Run the sub-command of a command line, and report the errors of its user."""
    try:
        parser = _parser(given)  # imports the modules of the sub-command
        args, unknown = parser.parse_known_args(given)
        if unknown:
            parser.error(_unknown_arguments(unknown, args))
        return int(args.run(args))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1 if error.is_transient else 2
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__package__):
            raise
        print(_NOT_INSTALLED.format(error.name), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


class _OutputFailed(Exception):
    """Standard output takes no text, for the reason in the error."""


@contextmanager
def _flushed_output() -> Iterator[None]:
    """Write the buffered output at the end, also that of `--help`.

    The interpreter would do so later, where nobody can handle a failure.
    """
    try:
        yield
    finally:
        with _typed_failures():
            if sys.stdout is not None:
                sys.stdout.flush()


@contextmanager
def _typed_failures() -> Iterator[None]:
    """Raise _OutputFailed for a failed write, unless the reader has closed the pipe."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputFailed(error.strerror) from None


def _discard_output() -> None:
    """Drop the buffered output, for which the interpreter would fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):  # it is not a file, as in a test
        os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _unknown_arguments(unknown: Sequence[str], args: argparse.Namespace) -> str:
    """Return an error message for unknown arguments, with the flag that may be meant."""
    from difflib import get_close_matches

    flags = ["--" + name.removeprefix("setting_").replace("_", "-") for name in vars(args)]
    name = unknown[0].partition("=")[0]
    close = get_close_matches(name, flags, 1, 0.75) if name.startswith("--") else []
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"unrecognized arguments: {' '.join(unknown)}{meant}"


def _exit(number: int, _: object) -> None:
    """End the process on a signal that the command does not handle yet.

    Otherwise the first process of a container would not end: the kernel has no default action for
    it. An exception is no alternative, because it is lost in a destructor or a callback.
    """
    os._exit(128 + number)


class _Version(argparse.Action):
    """Prints the version and exits, like argparse's action, but looks the version up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"dynamodb-processor {version('dynamodb-processor')}")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """A parser whose help fails where it cannot be written; argparse ignores that."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        with _typed_failures():
            (file or sys.stderr).write(message)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser for a command line; only the named sub-command gets its arguments."""
    parser = _Parser(prog="dynamodb-processor", description="Serves DynamoDB tables through gRPC.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (text, fill) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == named:
            fill(command)
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    from dynamodb_processor_server.cli.setting_flags import add_setting_flags, settings_of

    add_setting_flags(parser)
    parser.set_defaults(run=lambda args: _serve(settings_of(args)))


def _add_config(parser: argparse.ArgumentParser) -> None:
    from dynamodb_processor_server.cli.config import show_config
    from dynamodb_processor_server.cli.setting_flags import add_setting_flags, settings_of

    add_setting_flags(parser)
    parser.set_defaults(run=lambda args: _run(show_config(settings_of(args))))


def _add_catalog(parser: argparse.ArgumentParser) -> None:
    from dynamodb_processor_server.cli.catalog_init import add_actions

    add_actions(parser, _run)


def _add_keys(parser: argparse.ArgumentParser) -> None:
    from dynamodb_processor_server.cli.keys import add_actions

    add_actions(parser, _run)


def _add_health(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="127.0.0.1:50051", help="the server, HOST:PORT")
    parser.add_argument("--service", default="readiness", help="the health service's name for it")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS",
        help="how long to ask again while it does not serve (default: not at all)",
    )  # fmt: skip
    parser.add_argument(
        "--cacert", metavar="FILE",
        help="call with TLS, and trust the certificates in this PEM file (default: plain text)",
    )  # fmt: skip
    parser.add_argument("--cert", metavar="FILE", help="a client certificate in PEM")
    parser.add_argument("--cert-key", metavar="FILE", help="its private key in PEM")
    parser.add_argument(
        "--server-name", default="", metavar="NAME",
        help="the name in the server's certificate (default: the host of --target)",
    )  # fmt: skip
    parser.set_defaults(run=_health)


def _add_accept(parser: argparse.ArgumentParser) -> None:
    from dynamodb_processor_server.acceptance.command import add_arguments

    add_arguments(parser, _run)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend", choices=("embedded", "dynamodb-local", "aws"), default="embedded",
        help="where the sample tables are created",
    )  # fmt: skip
    parser.add_argument("--once", action="store_true", help="end after the walk")
    parser.add_argument("--listen", default="127.0.0.1:50051", help="where to serve gRPC")
    parser.set_defaults(run=_demo)


_COMMANDS: Final[Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]] = {
    "serve": ("run the server", _add_serve),
    "config": ("show the settings and check the catalog's tables", _add_config),
    "catalog": ("write a starting catalog from the tables that are there", _add_catalog),
    "keys": ("make and rotate API keys and token keys", _add_keys),
    "health": ("ask a server how it is; exit code 0 if it serves", _add_health),
    "accept": ("test a running deployment, scenario by scenario", _add_accept),
    "demo": ("serve sample tables and walk through the service", _add_demo),
}


def _serve(settings: Settings) -> int:
    from dynamodb_processor_server.settings import choose_grpc_experiments

    choose_grpc_experiments()  # before gRPC is imported
    from dynamodb_processor_server.cli.serve import serve

    return serve(settings, _run)


def _run(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # it has no build for Windows
        return asyncio.run(work)
    return uvloop.run(work)


def _health(args: argparse.Namespace) -> int:
    from dynamodb_processor_server.cli.health import check_health, tls_options

    tls = tls_options(args.cacert, args.cert, args.cert_key, args.server_name)
    # One request: not worth the import of uvloop.
    return asyncio.run(check_health(args.target, args.service, args.wait, tls=tls))


def _demo(args: argparse.Namespace) -> int:
    # Needs the `demo` extra, which a server does not need.
    from dynamodb_processor_server.demo.command import run_demo

    return run_demo(args.backend, args.listen, once=args.once, run=_run)


if __name__ == "__main__":
    sys.exit(main())
