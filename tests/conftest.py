"""Fixtures and rules for every test."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from hypothesis import HealthCheck, settings

from dynamodb_processor_server.demo.dynamodb_local import dynamodb_local as run_dynamodb_local
from dynamodb_processor_server.demo.tool_cache import ToolCache, ToolUnavailable
from tests.support.backends import AWS_ENVIRONMENT, FOREIGN_VARIABLES, find_tool
from tests.support.channels import SEEN
from tests.support.lengths import FULL
from tests.support.processes import ServerProcess, served
from tests.support.redis_server import RedisServer, find_redis
from tests.support.secrets_manager import SecretsManagerServer, open_secrets_manager

# No deadline: the duration of an example depends more on the machine than on the code.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# Another choice of examples at each run, and many more of them.
settings.register_profile(
    "deep", settings.get_profile("default"), derandomize=False, max_examples=1_000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Containers that are made, less those freed, between two garbage collections; the server's number.
# With Python's 700 the collections take an eighth of the processor time of the unit tests.
_CONTAINERS_PER_COLLECTION = 10_000

# Seconds that a cancelled task may need to end.
_GRACE_SECONDS = 2.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect measurements, except in `make faults`: here other suites share the cores."""
    if FULL:
        return
    measuring = [item for item in items if item.get_closest_marker("measures")]
    if measuring:
        config.hook.pytest_deselected(items=measuring)
        items[:] = [item for item in items if item not in measuring]


def pytest_collection_finish() -> None:
    """Leave modules and tests out of garbage collections: they live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_CONTAINERS_PER_COLLECTION)


@pytest.fixture(scope="session", autouse=True)
def _aws_environment() -> Iterator[None]:
    """Keep every AWS client in this process away from the developer's own account."""
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN_VARIABLES:
            patch.delenv(name, raising=False)
        for name, value in AWS_ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> Iterator[None]:
    """Log tracebacks as plain text: structlog's default takes half a second to draw each one."""
    before = structlog.get_config()
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(**before | {"processors": [*before["processors"][:-1], renderer]})
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def _no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    """Fail an asyncio test that leaves tasks running after it and its fixtures have ended.

    Tests that share a loop with others are exempt: tasks of a shared server rightly outlive them.
    """
    marker = request.node.get_closest_marker("asyncio")
    if marker is not None and marker.kwargs.get("loop_scope", "function") == "function":
        request.getfixturevalue("_leaked_tasks")


@pytest.fixture
async def _leaked_tasks() -> AsyncIterator[None]:
    # Set up before the test's own fixtures, so that it is torn down after them.
    yield
    # gRPC ends its own tasks when its threads reach them; a leaked one never ends.
    ending = _other_tasks()
    if ending:
        await asyncio.wait(ending, timeout=_GRACE_SECONDS)
    left = _other_tasks()
    if left:
        names = "\n".join(f"  {task.get_name()}: {task.get_coro()!r}" for task in left)
        pytest.fail(f"tasks still running at the end of the test:\n{names}", pytrace=False)


def _other_tasks() -> list[asyncio.Task[Any]]:
    own = asyncio.current_task()
    return [task for task in asyncio.all_tasks() if task is not own and not task.done()]


@pytest.fixture(scope="session")
def dynamodb_local(show_line: Callable[[str], None]) -> Iterator[str]:
    """The endpoint URL of one DynamoDB Local for the whole session. Name tables uniquely."""
    try:
        with run_dynamodb_local(ToolCache(report=show_line)) as endpoint_url:
            yield endpoint_url
    except ToolUnavailable as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def show_line(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """A function that prints a line although output is captured: a figure or a notice."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        paused = capture.global_and_fixture_disabled() if capture else contextlib.nullcontext()
        with paused:
            print(f"\n{line}", flush=True)

    return show


@pytest.fixture
def report(
    show_line: Callable[[str], None], record_property: Callable[[str, object], None]
) -> Callable[[str, str, str], None]:
    """A function that reports a scenario's requirement and its measurement.

    It is printed, and a line in the table of `make faults`. Call it before the assertions.
    """

    def tell(scenario: str, asked: str, measured: str) -> None:
        show_line(f"{scenario}: {measured}")
        for name, text in (("scenario", scenario), ("asked", asked), ("measured", measured)):
            record_property(name, text)

    return tell


@pytest.fixture(scope="session")
def examples_seed(request: pytest.FixtureRequest) -> str:
    """The source of Hypothesis's choice of examples, in words."""
    if settings().derandomize:
        return "examples fixed by the test"
    return f"seed {request.config.getoption('--hypothesis-seed')}"


@pytest.fixture(scope="session")
def grpcurl() -> Path:
    """The path of a real grpcurl."""
    return find_tool("grpcurl")


@pytest.fixture
def serve(tmp_path: Path, dynamodb_local: str) -> Iterator[Callable[..., ServerProcess]]:
    """A function that starts a real server process on DynamoDB Local; all stop with the test.

    Its arguments are those of `tests.support.processes.served`, without the directory.
    """
    with contextlib.ExitStack() as stack:
        count = 0

        def start(
            catalog: str | Mapping[str, Any],
            keys: str | Mapping[str, Any],
            *,
            endpoint_url: str | None = dynamodb_local,
            args: Sequence[str] = (),
            env: Mapping[str, str] | None = None,
        ) -> ServerProcess:
            nonlocal count
            count += 1
            directory = tmp_path / f"server-{count}"
            directory.mkdir()
            return stack.enter_context(
                served(catalog, keys, directory, endpoint_url=endpoint_url, args=args, env=env)
            )

        yield start


@pytest.fixture(scope="session", autouse=True)
def _errors_are_fit_for_callers(show_line: Callable[[str], None]) -> Iterator[None]:
    """Check every error of the session at the end: none UNKNOWN, none with internal detail."""
    yield
    unknown = [seen for seen in SEEN if seen.code is grpc.StatusCode.UNKNOWN]
    telling = [seen for seen in SEEN if seen.tells_insides]
    show_line(
        f"errors seen by callers: {len(SEEN)}, of them UNKNOWN {len(unknown)}, "
        f"with internal detail {len(telling)}"
    )
    assert not unknown, unknown[:5]
    assert not telling, telling[:5]


@pytest.fixture(scope="session")
def redis_binary() -> str:
    """The path of a Redis or Valkey server: one that is installed, or that of the dev group."""
    return find_redis()


@pytest.fixture(scope="module")
def own_redis(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that a test may break."""
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def secrets_manager() -> Iterator[SecretsManagerServer]:
    """A Secrets Manager of moto's. Name secrets uniquely."""
    with open_secrets_manager() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(
    redis_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """One Redis for the whole session. Name keys uniquely."""
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()
