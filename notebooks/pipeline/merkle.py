"""One digest over a list of others: the tree hash of RFC 6962 (leaves and nodes have different prefixes), SHA-256.

src/traffic/merkle.ts computes the same.
"""

import hashlib
from collections.abc import Iterable


def root(leaves: Iterable[bytes]) -> str:
    """The root as hex digits; of no leaves, the digest of nothing. Takes memory for the logarithm of their number."""
    complete: list[tuple[int, bytes]] = []
    for leaf in leaves:
        size, digest = 1, hashlib.sha256(b"\x00" + leaf).digest()
        while complete and complete[-1][0] == size:
            digest = _node(complete.pop()[1], digest)
            size *= 2
        complete.append((size, digest))
    if not complete:
        return hashlib.sha256(b"").hexdigest()
    _, digest = complete.pop()
    while complete:
        digest = _node(complete.pop()[1], digest)
    return digest.hex()


def shard_leaf(shard: int, first_offset: int, last_offset: int, records: int, sha256: str) -> bytes:
    """What stands in the tree for a sealed shard: everything that its row in `shards` says of its records."""
    return f"{shard} {first_offset} {last_offset} {records} {sha256}".encode()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
