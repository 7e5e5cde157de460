"""Keys of patients: the names of their folders, or pseudonyms made with a secret."""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from nasoseg.errors import NasosegError

_SHORTEST_SECRET = 16  # bytes
_LONGEST_NAME = 120  # characters; names become files and HDF5 groups


def check_name(name: str, *, what: str, remedy: str) -> None:
    """Check that a name is safe as the name of a file and of an HDF5 group.

    Raises:
        NasosegError: If it has a slash of either kind, ``..`` or a control character, is blank, padded or very long.
    """
    unsafe = not name.isprintable() or any(part in name for part in ("/", "\\", ".."))
    if unsafe or name != name.strip() or name in ("", ".") or len(name) > _LONGEST_NAME:
        raise NasosegError(
            f"{what} {name[:200]!r}: expected up to {_LONGEST_NAME} printable characters without '/', '\\', '..' or"
            f" blanks at its ends: {remedy}"
        )


def make_keys(names: Sequence[str], key_file: Path | None) -> dict[str, str]:
    """Give every patient a key: the name, or ``P`` and ten hexadecimal digits of HMAC-SHA256(secret, name).

    Whoever has the secret can make the pseudonym of a name again; nobody else can.

    Args:
        names: Names of folders or cases.
        key_file: The secret; made, readable by its owner alone, if it does not exist. None: names are the keys.

    Raises:
        NasosegError: If a name cannot be a key, the secret is too short, or two names get one key.
    """
    if key_file is None:
        for name in names:
            check_name(name, what="patient", remedy="rename the folder or case, or pass --pseudonym-key FILE")
        return {name: name for name in names}
    secret = _read_secret(key_file)
    keys = {
        n: "P" + hmac.new(secret, n.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:10] for n in names
    }
    if len(set(keys.values())) != len(keys):
        raise NasosegError(f"{key_file}: gives two patients one key: remove it, and another secret is made")
    return keys


def _read_secret(key_file: Path) -> bytes:
    try:
        if not key_file.exists():
            descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
        if os.name == "posix" and stat.S_IMODE(key_file.stat().st_mode) & 0o077:
            raise NasosegError(
                f"{key_file}: others can read the secret (mode {stat.S_IMODE(key_file.stat().st_mode):04o}), expected"
                f" 0600: chmod 600 {key_file}"
            )
        secret = key_file.read_bytes().strip()
    except OSError as error:
        raise NasosegError(
            f"{key_file}: the secret cannot be read or made ({error.strerror}): choose another file"
        ) from error
    if len(secret) < _SHORTEST_SECRET:
        raise NasosegError(
            f"{key_file}: holds {len(secret)} bytes, expected a secret of {_SHORTEST_SECRET} or more: name a file that"
            " does not exist, and a secret is made"
        )
    return secret
