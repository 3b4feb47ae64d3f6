"""Hints for expressions with syntax or names of another language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from dynamodb_processor_server.query.expression.ast import Comparison, Condition, In, Path, leaves

# A pattern for the text at the column of a syntax error, and the hint. The first match counts.
_HINTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (r"!=", "write <> for not equal"),
        (r"(?<==)=", "write = for equal"),
        (r"(?<==)[<>]", "write >= or <="),
        (r'!(?=[\w("])', "write NOT"),
        (r"&", "write AND"),
        (r"\|", "write OR"),
        (
            r"(?<=\w)[-#/@$]",
            "texts and dates stand in single quotes, names with such characters in double quotes",
        ),
        (r"#\w", "names need no #: write the name itself, in double quotes where it is no word"),
        (
            r"is\s+(not\s+)?null\b",
            "write attribute_not_exists(a) or attribute_exists(a), or a = null",
        ),
        (r"not\s+(in|between)\b", "write NOT before the whole: NOT a IN (...)"),
        (r"(not\s+)?like\b", "write begins_with(a, 'x') or contains(a, 'x')"),
        (
            "[\u2018\u2019\u201c\u201d`]",
            "write texts in single quotes '...', names in double quotes",
        ),
        (r"order\s+by\b", "the order is no part of the condition, but an option of the request"),
        (
            r"(limit|offset)\b",
            "how many items is no part of the condition, but an option of the request",
        ),
        (r";", "leave out the ;"),
        (r"(?<=\bin )\[|(?<=\bin)\[", "write IN (a, b)"),
        (r"'", "a text that begins with ' ends with another; inside, write '' for it"),
        (r'"', 'a name that begins with " ends with another; texts stand in single quotes'),
    )
)


# The beginning of a query in another language.
_SQL: Final = re.compile(r"\s*(select|where|from|delete|update|insert)\s+[\w*]", re.IGNORECASE)
_ALONE: Final = "write the condition alone, which is what SQL has after WHERE"

# The functions' names in other languages and libraries.
_FUNCTION_NAMES: Final = {
    "exists": "attribute_exists",
    "has": "contains",
    "includes": "contains",
    "is_null": "attribute_not_exists",
    "isnull": "attribute_not_exists",
    "len": "size",
    "length": "size",
    "not_exists": "attribute_not_exists",
    "prefix": "begins_with",
    "starts_with": "begins_with",
    "startswith": "begins_with",
    "type": "attribute_type",
    "typeof": "attribute_type",
}


def syntax_hint(text: str, column: int) -> str:
    """Return a hint for the text at a column, counted from 1; empty if there is none."""
    for pattern, hint in _HINTS:
        if pattern.match(text, column - 1):
            return hint
    return _ALONE if _SQL.match(text) else ""


def function_hint(name: str, known: Sequence[str]) -> str:
    """Return a hint at the right function for an unknown name."""
    plain = name.lower()
    close = _FUNCTION_NAMES.get(plain) or next(iter(get_close_matches(plain, known, 1, 0.75)), "")
    return f"write {close}" if close else f"there are {', '.join(known)}"


def bare_words(condition: Condition | None) -> Iterator[tuple[str, Path]]:
    """Yield each attribute compared for equality with a name, which may be meant as a text."""
    for leaf in leaves(condition) if condition is not None else ():
        match leaf:
            case Comparison("=" | "<>", Path() as subject, Path((str(),)) as word):
                yield subject.attribute, word
            case In(Path() as subject, options):
                for option in options:
                    if isinstance(option, Path) and len(option.parts) == 1:
                        yield subject.attribute, option


def bare_word_hint(word: Path) -> str:
    """Return a hint for a name that may be meant as a text."""
    return f"{word} is an attribute's name; if the text is meant, write '{word.attribute}'"
