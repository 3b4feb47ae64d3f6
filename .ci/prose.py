"""Measures the prose of code and documentation, and fails where it is worse than agreed.

`prose.py` measures the whole project. `prose.py --list PATH...` prints each offending place of the
given files and folders, and fails if there is one.

It counts three signs of unclear prose: long sentences (README and docs), relative pronouns where a
noun says more, and words that only this project used for things that have a usual name.
"""

from __future__ import annotations

import ast
import io
import math
import re
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

# Words in a sentence of README and docs, at most.
MEDIAN: Final = 16
P90: Final = 28
# "what", "who", "whoever" and "whatever" in 1,000 words, at most.
PRONOUNS: Final = {"server": 3.0, "tests": 3.0, "docs": 3.0}

SOURCES: Final = {
    "server": ("server/**/*.py",),
    "clients": ("clients/python/**/*.py",),
    "tests": ("tests/**/*.py",),
    "docs": ("README.md", "docs/**/*.md"),
}
Finding: TypeAlias = tuple[int, str, str]  # the line, the better word, the text

PRONOUN: Final = r"\b(?:what|who|whoever|whatever)\b"
# The words to use -> patterns for the words to avoid, everywhere and in names alone ("." is a space
# or an underscore), and in how many places they may still stand: lowered as they become fewer.
WORDS: Final = {
    "cursor": (r"openings?|opened.to|surplus", r"places?|positions?", 0),
    "pager, page": (r"traversals?|walk(?:s|ed|ing)?", r"turns?|terms", 0),
    "leader, follower, request": (r"land(?:s|ed)|questions?", r"joinable|asking", 0),
    "breaker open, failure": (
        r"(?:left|leav\w+).(?:it.)?alone|sick|verdicts?|eras?|cool.down",
        r"^well$|^guarded$|^entered$",
        0,
    ),
    "invalidated, superseded, current": (
        r"generations?.(?:\w+.){0,3}mov(?:e|es|ed)|settle[sd]?|heard|told",
        r"moved|(?:^|_)moves?$|intact|trusted|hears?|announced?",
        0,
    ),
    "pushdown, covered, selectivity": (r"upside.down", r"^carried$|^near$|narrow(?:ed|ing)", 0),
    "page cache, fill, stats": (r"keepers?|tally|tallies", r"", 0),
    "encrypted, decrypted": (r"unsealable|sealers?", r"", 0),
    "batcher, debit": (r"couriers?|tak(?:es?|en).(?:it.)?back", r"takings?", 0),
    "model, validation error": (
        r"mistakes?|mistaken",
        r"^declared$|^filled$|^distinct$|misfits?",
        0,
    ),
}
# (Word, files) -> the reason why it may stand there.
ALLOWED: Final = {
    ("walk", "server/dynamodb_processor_server/demo/*"): "the demo walks a newcomer through",
    ("walk", "tests/*/test_demo.py"): "the demo walks a newcomer through",
    ("walk", "tests/unit/demo/*"): "the demo walks a newcomer through",
    ("position", "server/dynamodb_processor_server/query/expression/*"): "a column of the text",
    ("terms", "*/query/*"): "the operands of AND and OR",
}


class Block(NamedTuple):
    """A docstring, comment, paragraph, list item or table cell, and the line it begins on."""

    line: int
    text: str
    is_sentence: bool = True  # False: a heading, or a table cell without a full stop


def python_blocks(source: str) -> Iterator[Block]:
    """Yield docstrings, and comments line by line."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            first, last = node.body[0].lineno, node.body[0].end_lineno
            yield Block(first, "\n".join(lines[first - 1 : last]))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Block(token.start[0], token.string.lstrip("# "))


def markdown_blocks(source: str) -> Iterator[Block]:
    """Yield headings, paragraphs, list items and table cells; code blocks are left out."""
    fenced = False
    paragraph: list[str] = []
    for number, raw in enumerate([*source.splitlines(), ""], start=1):
        line = raw.strip()
        begins = not line or re.match(r"(?:[-*|#]|\d+\.\s|```|<!--)", line)
        if paragraph and (begins or fenced):
            yield Block(number - len(paragraph), "\n".join(paragraph))
            paragraph.clear()
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or not line or line.startswith("<!--"):
            continue
        elif line.startswith("#"):
            yield Block(number, line.lstrip("# "), is_sentence=False)
        elif line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line.strip("|")):
                if re.search(r"\w", cell):
                    yield Block(number, cell.strip(), is_sentence=cell.rstrip().endswith("."))
        else:
            paragraph.append(re.sub(r"^(?:[-*]|\d+\.)\s+", "", line))


def blocks_of(path: str, source: str) -> list[Block]:
    """Return the prose of a file."""
    return list(markdown_blocks(source) if path.endswith(".md") else python_blocks(source))


def sentences(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield each sentence of a page, with the line on which its block begins."""
    for block in blocks:
        text = " ".join(block.text.split()) if block.is_sentence else ""
        for sentence in re.split(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*[]*[A-Z0-9`])", text):
            if sentence:
                yield Block(block.line, sentence)


def words(text: str) -> list[str]:
    """Return the words of a text without the targets of its links."""
    return re.findall(r"[^\s—]*\w[^\s—]*", re.sub(r"\]\([^)]*\)", "", text))


def defined_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield each name where a class, function, argument, variable or attribute gets it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.arg(arg=name)
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, ctx=ast.Store())
            ):
                yield node.lineno, name


def _search(pattern: str, key: str, path: str, texts: Iterable[Block]) -> Iterator[Finding]:
    for block in texts:
        for match in re.finditer(pattern, block.text, re.IGNORECASE):
            word = match[0].lower()
            if any(word.startswith(name) and fnmatch(path, files) for name, files in ALLOWED):
                continue
            line = block.text.count("\n", 0, match.start())
            yield block.line + line, key, block.text.splitlines()[line].strip()


def private_words(path: str, source: str) -> Iterator[Finding]:
    """Yield the places of Python source that have a word to avoid; a test's name is prose."""
    names, prose = [], list(python_blocks(source))
    for line, name in [(1, Path(path).stem), *defined_names(source)]:
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
        if snake.startswith("test_"):
            prose.append(Block(line, snake.replace("_", " ")))
        else:
            names.append(Block(line, snake))
    for key, (everywhere, in_names, _) in WORDS.items():
        either = "|".join(filter(None, (everywhere, in_names)))
        yield from _search(rf"(?<![^_])(?:{either})(?![^_])", key, path, names)
        if everywhere:
            yield from _search(rf"\b(?:{everywhere})\b", key, path, prose)


def findings(path: str, source: str) -> list[Finding]:
    """Return every place of a file that counts against it, in the order of its lines."""
    blocks = blocks_of(path, source)
    found = list(_search(PRONOUN, "a noun", path, blocks))
    if not path.endswith(".md"):
        return sorted([*found, *private_words(path, source)])
    long = (sentence for sentence in sentences(blocks) if len(words(sentence.text)) > P90)
    found += ((line, f"fewer than {len(words(text))} words", text) for line, text, _ in long)
    return sorted(found)


def files(root: Path, kind: str) -> list[tuple[str, str]]:
    """Return path and text of the files of one kind, without those that protoc writes."""
    found = (file for pattern in SOURCES[kind] for file in sorted(root.glob(pattern)))
    return [
        (str(file.relative_to(root)), file.read_text(encoding="utf-8"))
        for file in found
        if "_pb2" not in file.name
    ]


def exceeds(root: Path) -> bool:
    """Print the measures of a project, and say whether one of them is above its limit."""
    failed = []

    def compare(measure: str, value: float, most: float) -> None:
        failed.append(value > most)
        remark = "  <== too many" if value > most else ""
        print(f"{measure}: {round(value, 1):g} (at most {most:g}){remark}")

    for kind, most in PRONOUNS.items():
        blocks = [block for path, source in files(root, kind) for block in blocks_of(path, source)]
        count = sum(len(words(block.text)) for block in blocks)
        pronouns = sum(len(re.findall(PRONOUN, block.text, re.IGNORECASE)) for block in blocks)
        compare(f"{kind}: what, who ... in 1,000 words", 1000 * pronouns / max(count, 1), most)
        if kind == "docs":
            lengths = sorted(len(words(sentence.text)) for sentence in sentences(blocks)) or [0]
            compare("docs: median words in a sentence", statistics.median(lengths), MEDIAN)
            compare("docs: p90", lengths[math.ceil(0.9 * len(lengths)) - 1], P90)
    private = Counter(
        better
        for kind in ("server", "clients", "tests")
        for path, source in files(root, kind)
        for _, better, _ in private_words(path, source)
    )
    for key, (_, _, most) in WORDS.items():
        if private[key] or most:
            compare(f"places that should say {key!r}", private[key], most)
    return any(failed)


def main(arguments: Sequence[str], root: Path) -> int:
    """Measure the project at `root`, or list the findings in files and folders."""
    if arguments[:1] != ["--list"]:
        return int(exceeds(root))
    status = 0
    for path in map(Path, arguments[1:]):
        for file in sorted(path.rglob("*.*")) if path.is_dir() else [path]:
            if file.suffix in (".py", ".md") and "_pb2" not in file.name:
                name = file.resolve().as_posix().removeprefix(f"{root}/")
                for line, better, text in findings(name, file.read_text(encoding="utf-8")):
                    status = 1
                    print(f"{file}:{line}: {text} (use: {better})")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parents[1]))
