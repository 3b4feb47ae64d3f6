"""Encrypts the names and values of the shared cache: names are keyed digests.

Every replica derives the same keys from the token keys. Pages and events are encrypted with the
one of them that encrypts, and decrypted with any. Names are made with that key too; an invalidation
names its tags with every key, so that replicas between two steps of a rotation share invalidations.
"""

from __future__ import annotations

import hmac
import math
import os
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dynamodb_processor_server.cache.redis.item_format import pack_item, unpack_item
from dynamodb_processor_server.cache.shared_items import ExpiringItem, SharedKey
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.page_token import TokenKey, encrypting_key
from dynamodb_processor_server.query.planning.tags import TAG_BYTES, Tag
from dynamodb_processor_server.reader import PageContent, PageEnd
from dynamodb_processor_server.runtime.rotating_cipher import RotatingCipher

_INFO: Final = b"dynamodb-processor shared cache v2"
_NAME_BYTES: Final = 16
# Read at, expires, valid until, shows until, read until, count, end, length of next.
_PAGE: Final = struct.Struct(">dddddIBi")
# Part of the names of pages. Replicas whose releases write pages differently share none, but they
# share invalidations: the names of tags, and the keys, have no such part.
_PAGE_FORMAT: Final = 2
_ENDS: Final = tuple(PageEnd)
_EVENT: Final = b"event"
_PROGRESS: Final = b"progress"
_CLAIM: Final = struct.Struct(f">{TAG_BYTES}sd")


@dataclass(frozen=True, slots=True)
class ExpiringPage:
    """A page of the shared cache; `expires` is in seconds since the epoch."""

    content: PageContent
    expires: float


class _Key:
    def __init__(self, key: TokenKey) -> None:
        derived = HKDF(SHA256(), 64, salt=None, info=_INFO).derive(key.secret)
        name = key.key_id.encode()
        self.header = bytes((len(name),)) + name
        self.secret = derived[:32]
        self._naming = derived[32:]

    def name(self, subject: object) -> bytes:
        digest = hmac.digest(self._naming, canonical.encode(subject), "sha256")
        return digest[:_NAME_BYTES].hex().encode()


class PageCipher:
    """Makes names, and encrypts and decrypts values.

    `page_bounds` are the numbers of bytes that bound the pages read
    here: replicas with other bounds share no pages, since their pages may be too large here.
    `clock_skew` is the number of seconds by which the clocks of replicas may differ: the times in a
    page are those of another one. `now` returns seconds since the epoch.
    """

    def __init__(
        self,
        keys: Sequence[TokenKey],
        page_bounds: tuple[int, ...] = (),
        now: Callable[[], float] = time.time,
        clock_skew: float = 0.0,
    ) -> None:
        self._page_bounds = page_bounds
        self._clock_skew = clock_skew
        self._now = now
        self.use(keys)

    def use(self, keys: Sequence[TokenKey]) -> None:
        """Use other keys from now on."""
        self._token_keys = keys
        self._keys = [_Key(key) for key in keys]
        named = ((key.header, key.secret) for key in self._keys)
        self._cipher = RotatingCipher(named, os.urandom)

    def _first(self) -> int:
        """Return the index of the key that names and encrypts now."""
        return encrypting_key(self._token_keys, self._now())

    def page_name(self, cache_key: bytes, at: bytes, page_size: int) -> bytes:
        """Return the name of a page."""
        return self._keys[self._first()].name(
            ("page", _PAGE_FORMAT, cache_key, at, page_size, *self._page_bounds)
        )

    def tag_names(self, tags: Iterable[Tag]) -> tuple[bytes, ...]:
        """Return the names of the tags' generations for lookups."""
        key = self._keys[self._first()]
        return tuple([key.name(tag) for tag in tags])

    def all_tag_names(self, tags: Iterable[Tag]) -> list[bytes]:
        """Return every name that a replica may use to look up the tags' generations."""
        return [key.name(tag) for tag in tags for key in self._keys]

    def encrypt_page(self, page: ExpiringPage, context: bytes) -> bytes:
        """Return an encrypted page, which decrypts only with the same `context`."""
        content = page.content
        cursor = b"" if content.next is None else content.next
        packed = _PAGE.pack(
            content.read_at,
            page.expires,
            math.nan if content.valid_until is None else content.valid_until,
            content.shows_until,
            content.read_until,
            content.count,
            _ENDS.index(content.end),
            -1 if content.next is None else len(cursor),
        )
        return self._cipher.encrypt(packed + cursor + content.items, context, self._first())

    def decrypt_page(self, value: bytes, context: bytes) -> ExpiringPage:
        """Return the page of `encrypt_page`. Raises DecryptionError.

        It may show less, and have been read later, than the clock of the replica that read it says.
        """
        clear = self._cipher.decrypt(value, context)
        read_at, expires, valid_until, *times, count, end, length = _PAGE.unpack_from(clear)
        shows_until, read_until = times
        middle = _PAGE.size + max(0, length)
        content = PageContent(
            items=clear[middle:],
            count=count,
            next=None if length < 0 else clear[_PAGE.size : middle],
            end=_ENDS[end],
            read_at=read_at,
            valid_until=None if math.isnan(valid_until) else valid_until,
            shows_until=shows_until - self._clock_skew,
            read_until=read_until + self._clock_skew,
        )
        return ExpiringPage(content, expires)

    def item_name(self, key: SharedKey) -> bytes:
        """Return the name of an item in one shape."""
        return self._keys[self._first()].name(("item", key, *self._page_bounds))

    def other_tag_names(self, tag: Tag) -> list[bytes]:
        """Return the names of a tag by the keys that do not name and encrypt now."""
        first = self._first()
        return [key.name(tag) for index, key in enumerate(self._keys) if index != first]

    def encrypt_item(self, item: ExpiringItem, context: bytes) -> bytes:
        """Return an encrypted item, which decrypts only with the same `context`."""
        return self._cipher.encrypt(pack_item(item), context, self._first())

    def decrypt_item(self, value: bytes, context: bytes) -> ExpiringItem:
        """Return the item of `encrypt_item`. Raises DecryptionError."""
        return unpack_item(self._cipher.decrypt(value, context))

    def encrypt_event(self, tags: Iterable[Tag]) -> bytes:
        """Return an event that names invalidated tags."""
        return self._cipher.encrypt(b"".join(tags), _EVENT, self._first())

    def decrypt_event(self, event: bytes) -> list[Tag]:
        """Return the tags of `encrypt_event`. Raises DecryptionError."""
        clear = self._cipher.decrypt(event, _EVENT)
        return [clear[at : at + TAG_BYTES] for at in range(0, len(clear), TAG_BYTES)]

    def encrypt_progress(self, claims: Mapping[Tag, float], epoch: bytes) -> bytes:
        """Return the times that are claimed for tags, which decrypt only in the same epoch."""
        packed = b"".join([_CLAIM.pack(tag, until) for tag, until in claims.items()])
        return self._cipher.encrypt(packed, _PROGRESS + epoch, self._first())

    def decrypt_progress(self, value: bytes, epoch: bytes) -> dict[Tag, float]:
        """Return the claims of `encrypt_progress`. Raises DecryptionError."""
        return dict(_CLAIM.iter_unpack(self._cipher.decrypt(value, _PROGRESS + epoch)))
