"""Single flight: the flights that calls may join, and the end of a flight with its last caller."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.runtime.single_flight import Flight, SingleFlight
from tests.support.warped_time import warped


async def answer(seconds: float = 1.0) -> str:
    """Return a result after some seconds."""
    await asyncio.sleep(seconds)
    return "result"


def start(flights: SingleFlight[str, Flight[str]], seconds: float = 1.0) -> Flight[str]:
    """Start a flight for "key"."""
    return flights.start("key", Flight(asyncio.create_task(answer(seconds))))


@warped
async def test_a_flight_is_found_until_it_ends() -> None:
    """A call that comes later starts a flight of its own."""
    flights: SingleFlight[str, Flight[str]] = SingleFlight()
    assert flights.find("key") is None
    flight = start(flights)
    assert flights.find("key") is flight
    assert flights.find("other") is None
    assert await flight.task == "result"
    await asyncio.sleep(0)
    assert flights.find("key") is None


@pytest.mark.parametrize("callers", [1, 3])
@warped
async def test_the_last_caller_to_leave_cancels_the_flight(callers: int) -> None:
    """The callers before it only leave."""
    flights: SingleFlight[str, Flight[str]] = SingleFlight()
    flight = start(flights)
    for _ in range(callers):
        flights.join(flight)
    await asyncio.sleep(0)
    for _ in range(callers):
        assert flights.find("key") is flight
        flights.leave("key", flight)
    assert flights.find("key") is None
    await asyncio.wait((flight.task,))
    assert flight.task.cancelled()


@warped
async def test_a_caller_that_leaves_after_the_end_cancels_nothing() -> None:
    """The flight that has taken the place of the ended one goes on."""
    flights: SingleFlight[str, Flight[str]] = SingleFlight()
    ended = start(flights)
    flights.join(ended)
    await ended.task
    follower = start(flights)
    flights.leave("key", ended)
    assert flights.find("key") is follower
    assert await follower.task == "result"


@warped
async def test_a_forgotten_flight_goes_on_for_its_callers() -> None:
    """No further caller joins it, and its end does not remove the flight that replaced it."""
    flights: SingleFlight[str, Flight[str]] = SingleFlight()
    first = start(flights)
    flights.join(first)
    flights.forget()
    assert flights.find("key") is None
    second = start(flights, seconds=5.0)
    assert await first.task == "result"
    await asyncio.sleep(0)
    assert flights.find("key") is second
    await flights.close()
    assert second.task.cancelled()
