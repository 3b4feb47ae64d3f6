"""Feeds bytes of all kinds to the parsers of callers' texts; exits with 0 if none misbehaves.

Run as a script, with the target (`expressions` or `tokens`), seconds, and a folder for the corpus.
atheris chooses the bytes, guided by coverage; on a platform without it they are mutated at random.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any, Final

Target = Callable[[bytes], None]

EXPRESSIONS: Final = (
    "user_id = 'u-1' AND at BETWEEN 1 AND 2.5e3 AND NOT (a.b[3] <> :p OR c IN ('x', \"y\", NULL))",
    "begins_with(name, 'a') AND contains(tags, :p) OR attribute_exists(x) AND size(y) >= 7",
    "`odd name`.`x``y` = true OR attribute_type(z, 'S') AND not(not(z < -0.001))",
)
_QUERY: Final = "dynamodb_processor_server.query"
_MAX_BYTES: Final = 512
_CONTEXT: Final = b"context"


def expressions() -> tuple[Target, list[bytes]]:
    """Return a target that parses an expression, which must keep its meaning when formatted."""
    evaluator, formatter, parser, values = (
        importlib.import_module(f"{_QUERY}.expression.{name}")
        for name in ("evaluator", "formatter", "parser", "values")
    )
    text_value = values.from_wire({"S": "text"})

    def parse(data: bytes) -> None:
        text = data.decode(errors="replace")
        parameters: dict[str, Any] = {"p": text_value} if ":p" in text else {}
        try:
            condition = parser.parse_expression(text, parameters)
        except parser.ExpressionError:
            return
        evaluator.evaluate(condition, {})
        writer = formatter.ExpressionFormatter()
        formatted = writer.condition(condition)
        if parser.parse_expression(formatted, writer.parameters) != condition:
            raise AssertionError(f"formatted as {formatted!r}")

    return parse, [text.encode() for text in EXPRESSIONS]


def tokens() -> tuple[Target, list[bytes]]:
    """Return a target that decrypts a token, as text and as bytes; none may be accepted."""
    module = importlib.import_module(f"{_QUERY}.page_token")
    keys = [module.TokenKey("k1", b"s" * 32), module.TokenKey("k2", b"t" * 32)]
    cipher = module.PageTokenCipher(keys, 86_400.0)
    genuine = cipher.encrypt(module.TokenPayload(b"[null]", "by_day", 7), _CONTEXT)

    def decrypt_one(text: str) -> None:
        if text == genuine:
            return
        try:
            cipher.decrypt(text, _CONTEXT)
        except module.InvalidToken:
            return
        raise AssertionError(f"decrypted {text!r}")

    def decrypt_both(data: bytes) -> None:
        decrypt_one(data.decode("latin-1"))
        decrypt_one(base64.urlsafe_b64encode(data).rstrip(b"=").decode())

    return decrypt_both, [genuine.encode(), base64.urlsafe_b64decode(genuine + "==")]


def _mutate(target: Target, seeds: list[bytes], seconds: float) -> None:
    random, until, runs = Random(0), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = bytearray(random.choice(seeds))
        for _ in range(random.randrange(1, 8)):
            at, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
            other = random.choice(seeds)
            put = random.choice((random.randbytes(random.randrange(4)), other[at:end]))
            data[at : at + random.randrange(4)] = put
        target(bytes(data[:_MAX_BYTES]))
        runs += 1
    print(f"Done {runs} runs in {seconds:g} second(s)")


def main(name: str, seconds: int, corpus: Path) -> None:
    """Fuzz one of the two."""
    found = importlib.util.find_spec("atheris")
    atheris: Any = importlib.import_module("atheris") if found else None
    covered = [_QUERY, "lark"]
    # The fuzzed modules are imported here, by name, so that they can be instrumented.
    with atheris.instrument_imports(include=covered) if atheris else nullcontext():
        target, seeds = {"expressions": expressions, "tokens": tokens}[name]()
    if not atheris:
        _mutate(target, seeds, seconds)
        return
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [str(corpus), f"-max_total_time={seconds}", f"-max_len={_MAX_BYTES}"]
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
