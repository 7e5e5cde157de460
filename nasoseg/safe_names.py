"""Names that others chose, made safe: as the name of a file, and on a terminal.

A structure's name comes out of a DICOM file or a file's name, and may hold anything: separators, ``..``, control
characters that a terminal acts on, characters that reorder the text around them.
"""

import re
import unicodedata

_LONGEST = 120  # bytes; file systems allow 255, and endings, numbers and temporary names are still to be added
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)  # devices of Windows
_FORBIDDEN = frozenset('/\\<>:"|?*')  # on Windows; POSIX forbids the first and NUL


def safe_file_name(name: str) -> str:
    """Return a name that every usual file system takes as the name of one file in the folder at hand.

    What is not printable or forbidden somewhere becomes ``_``, and so does a run of dots; dots and blanks at the ends
    go; a name of a Windows device gets ``_`` before it; what is longer than 120 bytes of UTF-8 is cut between
    characters. An empty rest gives ``unnamed``. A safe name is returned as it is. Two names may become one: the caller
    makes them unique, without regard to case.
    """
    name = unicodedata.normalize("NFC", name)  # some file systems do so themselves
    name = "".join(c if c.isprintable() and c not in _FORBIDDEN else "_" for c in name)
    name = re.sub(r"\.{2,}", "_", name).lstrip(". ")
    if is_device(name):
        name = "_" + name
    name = name.encode()[:_LONGEST].decode(errors="ignore").rstrip(". ")
    return name or "unnamed"


def is_device(name: str) -> bool:
    """Tell whether Windows takes a name for a device, whatever its case and ending: ``con``, ``NUL.nii.gz``."""
    return _RESERVED.fullmatch(name.strip(". ")) is not None


def printable(name: str) -> str:
    r"""Return a name on one line with what does not print as escapes: a bell becomes ``\x07``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
