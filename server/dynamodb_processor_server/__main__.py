"""The `dynamodb-processor` command."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from dynamodb_processor_server.access import command as keys_command
from dynamodb_processor_server.app import open_app
from dynamodb_processor_server.checks import check_health, show_config
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.logs import configure_logs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code: 0 done, 1 failed, 2 used wrongly."""
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dynamodb-processor", description="Serves DynamoDB tables through gRPC."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the server")
    _add_settings(serve)
    serve.set_defaults(run=_serve)
    config = commands.add_parser("config", help="show the settings and check the catalog's tables")
    _add_settings(config)
    config.set_defaults(run=lambda args: _run(show_config(_settings(args))))
    keys_command.add_arguments(commands)
    health = commands.add_parser("health", help="ask a server how it is; exit code 0 if it serves")
    health.add_argument("--target", default="127.0.0.1:50051", help="the server, HOST:PORT")
    health.add_argument("--service", default="readiness", help="the health service's name for it")
    health.set_defaults(run=lambda args: _run(check_health(args.target, args.service)))
    _add_demo(commands)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Give a sub-command a flag for each setting that is no secret."""
    for name, field in Settings.model_fields.items():
        if SecretStr in (field.annotation, *get_args(field.annotation)):
            continue
        alone: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"setting_{name}",
            metavar="VALUE",
            help=(field.description or "").replace("%", "%%"),
            **alone,
        )


def _settings(args: argparse.Namespace) -> Settings:
    given = {
        name: value
        for name in Settings.model_fields
        if (value := getattr(args, f"setting_{name}", None)) is not None
    }
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in mistake['loc'])}: {mistake['msg']}"
            for mistake in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigurationError("\n".join(lines)) from None


def _serve(args: argparse.Namespace) -> int:
    settings = _settings(args)
    configure_logs(settings.log_format, settings.log_level)
    return _run(_serve_until_stopped(settings))


async def _serve_until_stopped(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_app(settings):
        await stop.wait()
    return 0


def _run(work: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # it has no build for Windows
        return asyncio.run(work)
    return uvloop.run(work)


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="serve sample tables and walk through the service")
    demo.add_argument(
        "--backend", choices=("embedded", "dynamodb-local", "aws"), default="embedded",
        help="where the sample tables are created",
    )  # fmt: skip
    demo.add_argument("--once", action="store_true", help="end after the walk")
    demo.add_argument("--listen", default="127.0.0.1:50051", help="where to serve gRPC")
    demo.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    # Needs the `demo` extra, which a server does without.
    from dynamodb_processor_server.demo.command import run_demo

    return run_demo(args.backend, args.listen, once=args.once, run=_run)


if __name__ == "__main__":
    sys.exit(main())
