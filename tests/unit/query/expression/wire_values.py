"""Hypothesis strategies for wire values of every type."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

numbers = st.builds(
    lambda sign, digits, exponent: f"{sign}{digits[0]}.{digits[1:]}E{exponent}",
    st.sampled_from(["", "-"]),
    st.text("0123456789", min_size=1, max_size=38),
    st.integers(-100, 100),
)
scalars = st.one_of(
    st.text().map(lambda text: {"S": text}),
    numbers.map(lambda text: {"N": text}),
    st.binary().map(lambda data: {"B": data}),
    st.booleans().map(lambda truth: {"BOOL": truth}),
    st.just({"NULL": True}),
)
sets = st.one_of(
    st.sets(st.text(), min_size=1).map(lambda members: {"SS": list(members)}),
    st.sets(numbers, min_size=1).map(lambda members: {"NS": list(members)}),
    st.sets(st.binary(), min_size=1).map(lambda members: {"BS": list(members)}),
)
wire_values: st.SearchStrategy[dict[str, Any]] = st.recursive(
    scalars | sets,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda elements: {"L": elements}),
        st.dictionaries(st.text(), inner, max_size=4).map(lambda fields: {"M": fields}),
    ),
    max_leaves=8,
)
