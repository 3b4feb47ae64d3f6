"""Prints the figures of a run, and gives them as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from figures import Figure
from subjects import Sample

#: The samples of each subject with each number of callers, by round.
Samples = Mapping[tuple[str, int], Sequence[Sample]]


def peers_as_json(samples: Samples) -> dict[str, Any]:
    """Return the figures of every subject by number of callers."""
    peers: dict[str, Any] = defaultdict(dict)
    for (name, callers), all_ in samples.items():
        peers[name][str(callers)] = {
            "cpu_us_per_call": Figure([sample.cpu_us_per_call for sample in all_]).as_json(),
            "calls_per_second": Figure([s.outcome.calls_per_second for s in all_]).as_json(),
            "busy": Figure([sample.busy for sample in all_]).as_json(),
        }
    return peers


def print_figures(samples: Samples, idle_bytes: Mapping[str, int]) -> None:
    """Print the CPU per call and the rate of every subject, and the memory before any call."""
    print(
        f"\n{'':18}{'callers':>8}{'CPU us/call':>12}{'min':>10}{'max':>10}{'calls/s':>9}{'busy':>6}"
    )
    for (name, callers), all_ in samples.items():
        cpu = Figure([sample.cpu_us_per_call for sample in all_])
        rate = Figure([sample.outcome.calls_per_second for sample in all_]).median
        busy = Figure([sample.busy for sample in all_]).median
        print(
            f"{name:18}{callers:10}{cpu.median:10.1f}{min(cpu.values):10.1f}{max(cpu.values):10.1f}"
            f"{rate:10.0f}{busy:10.0%}"
        )
    for name, size in idle_bytes.items():
        print(f"resident memory before the first call, {name}: {size / 2**20:.0f} MiB")
