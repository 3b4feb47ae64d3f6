"""What the shared tier gets to see, and that it gives nothing else back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.cache.redis.encryption import (
    DecryptionError,
    ExpiringPage,
    PageCipher,
)
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.tags import TAG_BYTES, Tag, tags_of_table
from dynamodb_processor_server.reader import PageContent, PageEnd

KEYS = tuple(TokenKey(name, name.encode() * 32) for name in "ab")
SEALER = PageCipher(KEYS)
PAGE = ExpiringPage(
    PageContent(b"items", 3, b"next", PageEnd.PAGE_FULL, 1_000.5, 2_000.25), 1_300.0
)


@pytest.mark.parametrize(
    "content",
    [
        PAGE.content,
        replace(PAGE.content, next=None),
        replace(PAGE.content, next=b""),
        replace(PAGE.content, items=b"", count=0, end=PageEnd.EXHAUSTED, valid_until=None),
    ],
)
def test_a_page_comes_out_as_it_went_in(content: PageContent) -> None:
    """Whatever it holds."""
    page = ExpiringPage(content, 1_300.0)
    assert SEALER.decrypt_page(SEALER.encrypt_page(page, b"here"), b"here") == page


def test_a_page_opens_only_in_its_place() -> None:
    """Neither elsewhere, nor cut, nor changed in any bit, nor with other keys."""
    sealed = SEALER.encrypt_page(PAGE, b"here")
    assert b"items" not in sealed
    for value in (sealed[:-1], sealed[:20], b"", b"garbage", sealed + b"x"):
        with pytest.raises(DecryptionError):
            SEALER.decrypt_page(value, b"here")
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(DecryptionError):
            SEALER.decrypt_page(bytes(changed), b"here")
    with pytest.raises(DecryptionError):
        SEALER.decrypt_page(sealed, b"there")
    with pytest.raises(DecryptionError):
        PageCipher(KEYS[1:]).decrypt_page(sealed, b"here")
    assert PageCipher(KEYS[::-1]).decrypt_page(sealed, b"here") == PAGE


@given(st.lists(st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES), max_size=5))
def test_events_say_which_tags(tags: list[Tag]) -> None:
    """The same ones, in order, and by name."""
    opened = SEALER.decrypt_event(SEALER.encrypt_event(tags))
    assert opened == tags
    assert SEALER.tag_names(opened) == SEALER.tag_names(tags)


def test_names_say_nothing_without_the_key() -> None:
    """And are the same for equal tags."""
    (one,), (same,) = tags_of_table(TableIdentity("t")), tags_of_table(TableIdentity("t"))
    assert SEALER.tag_names([one]) == SEALER.tag_names([same])
    assert one not in SEALER.tag_names([one])
    assert SEALER.tag_names([one]) != PageCipher(KEYS[1:]).tag_names([one])
    assert SEALER.page_name(b"k", b"", 10) != SEALER.page_name(b"k", b"", 11)
    assert len(SEALER.page_name(b"k", b"", 10)) == 32
