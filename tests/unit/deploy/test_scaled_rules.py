"""Rules whose time runs faster, for scenarios that cannot last for days."""

from __future__ import annotations

from tests.support.prometheus import RULES, scaled

_RULES = """\
- record: a:ratio:rate1h
  expr: sum(rate(b[1h])) or max_over_time(c[2m])
- alert: D
  expr: a:ratio:rate1h > 14.4 * 0.001
  for: 15m
  description: fails for a day
"""


def test_ranges_and_waits_are_shorter_and_nothing_else_changes() -> None:
    """Names of recorded series and thresholds stay."""
    assert scaled(_RULES, 120) == (
        _RULES.replace("[1h]", "[30000ms]").replace("[2m]", "[1000ms]").replace("15m", "7500ms")
    )


def test_every_duration_of_the_rules_is_scaled() -> None:
    """No range and no wait of the rules is in a form that is not recognised."""
    rules = RULES.read_text("utf-8")
    ranges = rules.count("[") - rules.count("label_values[")
    waits = rules.count("for: ")
    assert scaled(rules, 120).count("ms]") == ranges
    assert scaled(rules, 120).count("ms\n        labels") == waits
