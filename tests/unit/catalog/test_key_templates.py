"""Key templates: keys composed of fields and decomposed again."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.catalog.key_templates import KeyTemplate

TEMPLATES: Final = (
    "{a}",
    "USER#{a}",
    "{a}#{b}",
    "{a}##{b}",
    "{a}#{b}#{c}",
    "A#{a}#B#{b}#",
    "{a:3}{b}",
    "{a:3}#{b}",
    "{a:2}{b:1}{c}",
    "{a}aa{b:2}",
    "{a}-{b:2}-{c}",
)
# Few characters, with those of the separators among them, so that many values are invalid.
values = st.text("#-aA😀", min_size=0, max_size=5)


def template(text: str, **widths: int) -> KeyTemplate:
    """Parse the text of a template."""
    return KeyTemplate.parse("PK", text, widths)


@pytest.mark.parametrize("text", TEMPLATES)
@given(st.fixed_dictionaries({"a": values, "b": values, "c": values}))
def test_a_composed_key_decomposes_to_its_fields(text: str, given_values: dict[str, str]) -> None:
    """Every key that can be composed decomposes to exactly the values that it was composed of."""
    parsed = template(text)
    fields = {field.name: given_values[field.name] for field in parsed.fields}
    try:
        key = parsed.compose(fields)
    except ValueError:
        return
    assert parsed.decompose(key) == fields


@pytest.mark.parametrize("text", TEMPLATES)
@given(st.text("#-aA😀USERB", max_size=12))
def test_a_decomposed_key_composes_to_itself(text: str, key: str) -> None:
    """A key that does not match the template is not decomposed."""
    parsed = template(text)
    found = parsed.decompose(key)
    if found is not None:
        assert parsed.compose(found) == key


def test_no_two_readings_make_one_key() -> None:
    """Trap 32b: x#y + z equals x + y#z, so the first of them is refused."""
    pair = template("{a}#{b}")
    assert pair.compose({"a": "x", "b": "y#z"}) == "x#y#z"
    with pytest.raises(ValueError, match=r"^a is part of a key and must not contain '#'$"):
        pair.compose({"a": "x#y", "b": "z"})
    assert pair.decompose("x#y#z") == {"a": "x", "b": "y#z"}


def test_composed_keys_need_not_sort_as_their_fields() -> None:
    """Trap 32b: a!#1 comes before a#2 though a comes before a!."""
    pair = template("{a}#{b}")
    first, second = {"a": "a!", "b": "1"}, {"a": "a", "b": "2"}
    assert pair.compose(first) < pair.compose(second)
    assert first["a"] > second["a"]


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("{a}#{b}", "x", None),
        ("{a}#{b}", "", "is part of a key and never empty"),
        ("{a}#{b}", "x#y", "is part of a key and must not contain '#'"),
        ("{a}##{b}", "x#y", None),
        ("{a}##{b}", "x#", "is part of a key and must not contain '##'"),
        ("{a}##{b}", "#x", None),
        ("{a}aba{b}", "xab", "is part of a key and must not contain 'aba'"),
        ("{a:3}#{b}", "x#y", None),
        ("{a:3}#{b}", "xy", "has 3 characters in the key"),
        ("{a:3}#{b}", "wxyz", "has 3 characters in the key"),
        ("{a:1}#{b}", "😀", None),
        ("{a:3}#{b}", "", "is part of a key and never empty"),
        ("U#{a}", "x#U#y", None),
        ("{a}#", "x#", "is part of a key and must not contain '#'"),
    ],
)
def test_values_that_would_be_misread_are_refused(
    text: str, value: str, reason: str | None
) -> None:
    """The separator ends a field, even where it overlaps with the value; widths are exact."""
    parsed = template(text)
    assert parsed.rejection_reason(parsed.fields[0], value) == reason


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("USER#{a}", "USER#"), ("USER#{a}", "user#x"), ("USER#{a}", "USER"), ("USER#{a}", ""),
        ("{a}#{b}", "x"), ("{a}#{b}", "x#"), ("{a}#{b}", "#y"), ("{a:3}{b}", "xyz"),
        ("{a:3}#{b}", "xyz-w"), ("{a:3}#{b}", "x#y"), ("{a:3}", "wxyz"), ("{a}#B", "x#Bc"),
    ],
)  # fmt: skip
def test_other_keys_are_not_decomposed(text: str, key: str) -> None:
    """Items of other kinds, with other keys, share the table."""
    assert template(text).decompose(key) is None


def test_fields_of_a_width_may_stand_side_by_side() -> None:
    """A field with a width, in characters, needs no separator."""
    parsed = template("{a:2}{b}", b=3)
    assert parsed.decompose("xüy😀z") == {"a": "xü", "b": "y😀z"}
    assert [(field.name, field.width) for field in parsed.fields] == [("a", 2), ("b", 3)]
    assert str(parsed) == "{a}{b}"


def test_braces_are_written_twice() -> None:
    """Braces are escaped as in Python's format strings, whose syntax this is."""
    parsed = template("{{{a}}}")
    assert parsed.compose({"a": "x"}) == "{x}"
    assert parsed.decompose("{x}") == {"a": "x"}


def test_a_known_form_takes_precedence_over_a_width() -> None:
    """A timestamp has the width of its form."""
    assert template("{at:7}", at=20).fields[0].width == 20


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no field"),
        ("USER#", "has no field"),
        ("{a}{b}", "nothing says where a ends"),
        ("{a:3}{b}{c}", "nothing says where b ends"),
        ("{a}#{a}", "has a field twice"),
        ("{}", "a field is {name}"),
        ("{a.b}", "a field is {name}"),
        ("{a[0]}", "a field is {name}"),
        ("{a!r}", "a field is {name}"),
        ("{a:x}", "a field's width is a number"),
        ("{a:0}", "a field's width is a number"),
        ("{a:-1}", "a field's width is a number"),
        ("{a:1025}", "a field's width is a number"),
        ("{a:٣}", "a field's width is a number"),
        ("{a:{b}}", "a field's width is a number"),
        ("{a", "expected '}'"),
        ("a}", "Single '}'"),
    ],
)
def test_invalid_templates_are_refused(text: str, reason: str) -> None:
    """The error has the reason in words."""
    with pytest.raises(ValueError, match=reason.replace("{", r"\{").replace("}", r"\}")):
        template(text)
