"""Names and values of the shared cache: encrypted, and decrypted only with their context."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.cache.item_entry import ItemContent
from dynamodb_processor_server.cache.redis import encryption
from dynamodb_processor_server.cache.redis.encryption import (
    ExpiringPage,
    PageCipher,
)
from dynamodb_processor_server.cache.shared_items import ExpiringItem
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.tags import TAG_BYTES, Tag, tags_of_table
from dynamodb_processor_server.reader import PageContent, PageEnd
from dynamodb_processor_server.runtime.rotating_cipher import DecryptionError

KEYS = tuple(TokenKey(name, name.encode() * 32) for name in "ab")
CIPHER = PageCipher(KEYS)
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
def test_a_decrypted_page_equals_the_encrypted_one(content: PageContent) -> None:
    """That holds for pages with and without items, cursor and expiry."""
    page = ExpiringPage(content, 1_300.0)
    assert CIPHER.decrypt_page(CIPHER.encrypt_page(page, b"here"), b"here") == page


def test_the_times_of_another_replica_are_widened() -> None:
    """Its clock may be ahead or behind, so its page shows less, and may have been read later."""
    content = replace(PAGE.content, shows_until=998.5, read_until=1_001.5)
    value = CIPHER.encrypt_page(ExpiringPage(content, 1_300.0), b"here")
    same = CIPHER.decrypt_page(value, b"here").content
    assert (same.shows_until, same.read_until) == (998.5, 1_001.5)
    wider = PageCipher(KEYS, clock_skew=0.5).decrypt_page(value, b"here").content
    assert (wider.shows_until, wider.read_until, wider.read_at) == (998.0, 1_002.0, 1_000.5)


def test_a_release_that_writes_pages_differently_finds_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The two share invalidations, by equal names of tags and readable events, and no page."""
    tag, *_ = tags_of_table(TableIdentity("t"))
    names = CIPHER.page_name(b"k", b"", 10), CIPHER.tag_names([tag])
    monkeypatch.setattr(encryption, "_PAGE_FORMAT", 1)
    other = PageCipher(KEYS)
    assert other.page_name(b"k", b"", 10) != names[0]
    assert other.tag_names([tag]) == names[1]
    assert other.decrypt_event(CIPHER.encrypt_event([tag])) == [tag]


def test_a_page_decrypts_only_with_its_context() -> None:
    """Another context, a cut or changed value, and other keys are refused."""
    encrypted = CIPHER.encrypt_page(PAGE, b"here")
    assert b"items" not in encrypted
    for value in (encrypted[:-1], encrypted[:20], b"", b"garbage", encrypted + b"x"):
        with pytest.raises(DecryptionError):
            CIPHER.decrypt_page(value, b"here")
    for at in range(len(encrypted)):
        changed = bytearray(encrypted)
        changed[at] ^= 1
        with pytest.raises(DecryptionError):
            CIPHER.decrypt_page(bytes(changed), b"here")
    with pytest.raises(DecryptionError):
        CIPHER.decrypt_page(encrypted, b"there")
    with pytest.raises(DecryptionError):
        PageCipher(KEYS[1:]).decrypt_page(encrypted, b"here")
    assert PageCipher(KEYS[::-1]).decrypt_page(encrypted, b"here") == PAGE


@given(st.lists(st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES), max_size=5))
def test_events_name_their_tags(tags: list[Tag]) -> None:
    """The tags are the same, in order."""
    decrypted = CIPHER.decrypt_event(CIPHER.encrypt_event(tags))
    assert decrypted == tags
    assert CIPHER.tag_names(decrypted) == CIPHER.tag_names(tags)


def test_names_depend_on_the_key() -> None:
    """They are equal for equal tags, and reveal no tag."""
    one, same = tags_of_table(TableIdentity("t"))[0], tags_of_table(TableIdentity("t"))[0]
    assert CIPHER.tag_names([one]) == CIPHER.tag_names([same])
    assert one not in CIPHER.tag_names([one])
    assert CIPHER.tag_names([one]) != PageCipher(KEYS[1:]).tag_names([one])
    assert CIPHER.page_name(b"k", b"", 10) != CIPHER.page_name(b"k", b"", 11)
    assert len(CIPHER.page_name(b"k", b"", 10)) == 32


def test_names_and_values_are_made_with_the_key_whose_time_has_come() -> None:
    """Invalidations name the tags by all keys, so that replicas may change over apart."""
    clock = [1_000.0]
    new, old = replace(KEYS[0], encrypts_from=1_060.0), KEYS[1]
    cipher = PageCipher((new, old), now=lambda: clock[0])
    tag = tags_of_table(TableIdentity("t"))[0]
    for now, key in ((1_000.0, old), (1_060.0, new)):
        clock[0] = now
        alone = PageCipher((replace(key, encrypts_from=0.0),))
        assert cipher.tag_names([tag]) == alone.tag_names([tag])
        assert cipher.page_name(b"k", b"", 10) == alone.page_name(b"k", b"", 10)
        assert alone.decrypt_page(cipher.encrypt_page(PAGE, b"here"), b"here") == PAGE
        assert alone.decrypt_event(cipher.encrypt_event([tag])) == [tag]
        assert cipher.tag_names([tag])[0] in cipher.all_tag_names([tag])


def test_other_keys_are_used_at_once() -> None:
    """Values of a key that stays are read as before."""
    cipher = PageCipher(KEYS[1:])
    before = cipher.encrypt_page(PAGE, b"here")
    cipher.use(KEYS)
    assert cipher.decrypt_page(before, b"here") == PAGE
    assert cipher.page_name(b"k", b"", 10) == CIPHER.page_name(b"k", b"", 10)
    cipher.use(KEYS[:1])
    with pytest.raises(DecryptionError):
        cipher.decrypt_page(before, b"here")


@given(st.dictionaries(st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES), st.floats(0, 1e10)))
def test_progress_decrypts_to_its_claims(claims: dict[Tag, float]) -> None:
    """That holds for any number of tags."""
    assert CIPHER.decrypt_progress(CIPHER.encrypt_progress(claims, b"e"), b"e") == claims


def test_progress_decrypts_only_in_its_epoch() -> None:
    """It is no event either, so a claim cannot be put in the place of an invalidation."""
    value = CIPHER.encrypt_progress({b"t" * TAG_BYTES: 1_000.0}, b"epoch")
    with pytest.raises(DecryptionError):
        CIPHER.decrypt_progress(value, b"other")
    with pytest.raises(DecryptionError):
        CIPHER.decrypt_event(value)
    with pytest.raises(DecryptionError):
        CIPHER.decrypt_progress(CIPHER.encrypt_event((b"t" * TAG_BYTES,)), b"epoch")


@pytest.mark.parametrize(
    "content",
    [
        ItemContent(b"message", b"stored", 1_000.5, 1_000.75, 2_000.25, 10**40 - 1),
        ItemContent(b"message", b"", 1_000.5, 1_000.75),
        ItemContent(b"", b"stored", 1_000.5, 1_000.75),
        ItemContent(None, b"", 1_000.5, 1_000.75),
    ],
)
def test_a_decrypted_item_equals_the_encrypted_one(content: ItemContent) -> None:
    """An empty message is not an absent item; sequence numbers have up to 40 digits."""
    item = ExpiringItem(content, 1_300.0)
    encrypted = CIPHER.encrypt_item(item, b"here")
    assert CIPHER.decrypt_item(encrypted, b"here") == item
    with pytest.raises(DecryptionError):
        CIPHER.decrypt_item(encrypted, b"there")
