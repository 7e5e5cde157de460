"""Keys of patients: the names of their folders, or pseudonyms made with a secret."""

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nasoseg.errors import NasosegError
from nasoseg.safe_names import is_device

_SHORTEST_SECRET = 16  # bytes
_SCAN_KEY = re.compile(r"(P[0-9a-f]{10})-[0-9a-f]{6}")  # as scan_key makes it
_LONGEST_NAME = 120  # characters; names become files and HDF5 groups


def check_name(name: str, *, what: str, remedy: str) -> None:
    """Check that a name is safe as the name of a file and of an HDF5 group.

    Raises:
        NasosegError: If it has a slash of either kind, ``..`` or a control character, is blank, padded, very long, or
            a device of Windows.
    """
    unsafe = not name.isprintable() or is_device(name) or any(part in name for part in ("/", "\\", ".."))
    if unsafe or name != name.strip() or name in ("", ".") or len(name) > _LONGEST_NAME:
        raise NasosegError(
            f"{what} {name[:200]!r}: expected up to {_LONGEST_NAME} printable characters without '/', '\\', '..' or"
            f" blanks at its ends, and no device of Windows such as 'con': {remedy}"
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
    secret = read_secret(key_file)
    keys = {name: pseudonym(secret, name) for name in names}
    if len(set(keys.values())) != len(keys):
        raise NasosegError(f"{key_file}: gives two patients one key: remove it, and another secret is made")
    return keys


def scan_keys(scans: Sequence[tuple[str, str]], key_file: Path) -> list[str]:
    """Give every scan a key: its patient's pseudonym, and where he has several scans ``-`` and six digits of the scan.

    Scans of one patient can so be told by what stands before the ``-``.

    Args:
        scans: What identifies the patient, and what identifies the scan.
        key_file: The secret; made, readable by its owner alone, if it does not exist.

    Raises:
        NasosegError: If the secret is too short, or two scans get one key.
    """
    secret = read_secret(key_file)
    several = Counter(patient for patient, _ in scans)
    keys = [scan_key(secret, *scan) if several[scan[0]] > 1 else pseudonym(secret, scan[0]) for scan in scans]
    if len(set(keys)) != len(keys):
        raise NasosegError(f"{key_file}: gives two scans one key: remove it, and another secret is made")
    return keys


def scan_key(secret: bytes, patient: str, scan: str) -> str:
    """Return the key of one of a patient's several scans."""
    return f"{pseudonym(secret, patient)}-{_digest(secret, f'{patient}|{scan}')[:6]}"


def patient_of(key: str) -> str:
    """Return what the keys of a patient's scans have in common; of any other key, the key itself."""
    match = _SCAN_KEY.fullmatch(key)
    return match[1] if match else key


def pseudonym(secret: bytes, name: str) -> str:
    """Return the key of a patient: ``P`` and ten hexadecimal digits."""
    return "P" + _digest(secret, name)[:10]


def _digest(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def read_secret(key_file: Path) -> bytes:
    """Read a secret; it is made, readable by its owner alone, if it does not exist.

    Raises:
        NasosegError: If it cannot be read or made, others can read it, or it is too short.
    """
    try:
        if not key_file.exists():
            _make_secret(key_file)
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


def _make_secret(key_file: Path) -> None:
    """Make a secret that only its owner can read: whole, or not there; one that another process made meanwhile stays.

    Raises:
        OSError: If it cannot be written.
    """
    temporary = key_file.with_name(f".{key_file.name}.{os.getpid()}.tmp")  # `*.tmp` of parts is cleaned up
    temporary.unlink(missing_ok=True)  # of a process that was killed
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, key_file)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            temporary.rename(key_file)
    finally:
        temporary.unlink(missing_ok=True)
