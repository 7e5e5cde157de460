"""A checksum that a model file carries in its own metadata: a flipped bit in a weight would go unnoticed otherwise."""

import hashlib
import re

SEAL = "nasoseg_sha256"
"""Its key in a model file's metadata."""

OPEN = "nasoseg-sha256:" + "0" * 64
"""Its value in a file that has not been sealed yet."""

_PATTERN = re.compile(rb"nasoseg-sha256:[0-9a-f]{64}")


def sealed(content: bytes, *others: bytes) -> bytes:
    """Put the checksum of a file, and of others that belong to it, in the place of ``OPEN``.

    Raises:
        ValueError: If the file does not hold ``OPEN`` exactly once.
    """
    if content.count(OPEN.encode()) != 1:
        raise ValueError(f"found {content.count(OPEN.encode())} open seals, expected one")
    return content.replace(OPEN.encode(), _seal(content, *others))


def is_intact(content: bytes, *others: bytes) -> bool | None:
    """Tell whether files are as they were when they were sealed; None where there is no seal."""
    found = set(_PATTERN.findall(content))
    if not found:
        return None
    seal = found.pop()
    return not found and _seal(content.replace(seal, OPEN.encode()), *others) == seal


def _seal(content: bytes, *others: bytes) -> bytes:
    digest = hashlib.sha256(content)
    for other in others:
        digest.update(other)
    return b"nasoseg-sha256:" + digest.hexdigest().encode()
