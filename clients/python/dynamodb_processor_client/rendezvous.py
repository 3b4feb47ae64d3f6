"""Rendezvous hashing: which replica owns an affinity key, and which ones are next.

https://en.wikipedia.org/wiki/Rendezvous_hashing. Each pair of a key and an address has a weight,
and the largest one wins. So without an address its keys alone move, evenly to all others.
"""

from __future__ import annotations

from collections.abc import Sequence


def ranking(key: str, addresses: Sequence[str]) -> list[int]:
    """Return the indexes of the addresses, that of the owner of the key first.

    The order of the addresses makes no difference; their spelling does.
    """
    import hashlib  # noqa: PLC0415 - it takes 4 ms, which one address does not need

    def weight(index: int) -> bytes:
        pair = f"{addresses[index]}\0{key}".encode()
        return hashlib.blake2b(pair, digest_size=8).digest()

    return sorted(range(len(addresses)), key=weight, reverse=True)
