"""The text that a NRRD or MetaImage file begins with, checked before ITK sees the file.

ITK believes it: a wild number of dimensions takes all memory or ends the process, as a long unknown field does, and a
name in it sends ITK to any file of the machine. Of the fields that say how voxels lie only values that are understood
pass; others are text.
"""

import re
from pathlib import Path

from nasoseg.volumes.header import unreadable

_MOST_BYTES = 1 << 18  # the DICOM attributes that converters keep fill a few kilobytes
_LONGEST_META = 4000  # characters of a field; ITK reads lines of 4096
_LONGEST_NRRD = 500  # ITK quotes a field that it rejects without bound, beyond the memory that it has for the message
_MOST_WORDS = 256

_REAL = r"[-+]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][-+]?\d{1,3})?"
_REAL_OR_NONE = rf"{_REAL}|(?i:none|[-+]?nan)"
_WHOLE = r"-?\d{1,18}"
_FLAG = "(?i:true|false)"
_DIMENSIONS = "[1-9]|1[0-6]"  # 16 is NRRD's own limit; that there must be three is asked later
_NAME = r"(?!LIST$)[^/\\%:]+"  # a file beside it, or LOCAL: no list or pattern of files, no other folder

# What each word of a field's value must be, by the field's name in lower case.
_META = (
    {"objecttype": "Image", "ndims": _DIMENSIONS, "elementdatafile": _NAME}
    | {"elementtype": "MET_(U?(CHAR|SHORT|INT|LONG|LONG_LONG)|FLOAT|DOUBLE)"}
    | dict.fromkeys(("binarydata", "binarydatabyteordermsb", "elementbyteordermsb", "compresseddata"), _FLAG)
    | dict.fromkeys(("dimsize", "compresseddatasize", "compressionlevel", "elementnumberofchannels"), _WHOLE)
    | dict.fromkeys(("headersize", "id", "parentid"), _WHOLE)
    | dict.fromkeys(("offset", "position", "origin", "centerofrotation", "elementspacing", "elementsize"), _REAL)
    | dict.fromkeys(("transformmatrix", "rotation", "orientation", "color", "sequenceid"), _REAL)
    | dict.fromkeys(("elementmin", "elementmax"), _REAL)
    | dict.fromkeys(("elementtointensityfunctionslope", "elementtointensityfunctionoffset"), _REAL)
)
_ANY = ".*"
_NRRD = (
    {"dimension": _DIMENSIONS, "spacedimension": _DIMENSIONS, "type": r"[a-z]\w{2,20}"}
    | {"encoding": "raw|gz|gzip", "endian": "little|big"}
    | dict.fromkeys(("sizes", "lineskip", "byteskip"), _WHOLE)
    | dict.fromkeys(("spacedirections", "spaceorigin", "measurementframe", "spacings"), _REAL_OR_NONE)
    | dict.fromkeys(("thicknesses", "axismins", "axismaxs", "min", "max", "oldmin", "oldmax"), _REAL_OR_NONE)
    | dict.fromkeys(("space", "kinds", "centers", "centerings", "labels", "units", "spaceunits", "content"), _ANY)
    | dict.fromkeys(("sampleunits", "number", "blocksize", "datafile"), _ANY)
)


def check_itk_header(path: Path) -> None:
    """Check what a NRRD or MetaImage file says about its voxels.

    Raises:
        NasosegError: If it has no such header, or says something that no writer of images says; or if it is a NRRD file
            whose voxels lie in another one.
    """
    with path.open("rb") as file:
        start = file.read(_MOST_BYTES)
    try:
        if path.suffix.lower() == ".nrrd":
            _check_nrrd(start)
        else:
            _check_meta(start)
    except ValueError as error:
        raise unreadable(path, error) from error


def voxel_file(path: Path) -> Path | None:
    """Return the file beside a ``.mhd`` that holds its voxels, or None where the header names none there."""
    with path.open("rb") as file:
        start = file.read(_MOST_BYTES)
    named = re.search(rb"(?im)^[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*?)[ \t]*$", start.replace(b"\r", b""))
    name = named[1].decode("utf-8", "surrogateescape") if named else ""
    return path.with_name(name) if re.fullmatch(_NAME, name) and name not in ("LOCAL", ".", "..") else None


def _check_meta(start: bytes) -> None:
    found: dict[str, list[str]] = {}
    for line in _lines(start):
        if line.strip():
            name = _keep(found, re.split("[=:]", line, maxsplit=1), _META)
            if name == "elementdatafile":  # the last
                break
    _check_count(found, "ndims", "dimsize")
    if "elementtype" not in found or "elementdatafile" not in found:
        raise ValueError("its header does not end with ElementType and ElementDataFile")
    n = int(found["ndims"][0])
    for name in ("offset", "position", "origin", "centerofrotation", "elementspacing", "elementsize"):
        _check_words(found, name, n)
    for name in ("transformmatrix", "rotation", "orientation"):
        _check_words(found, name, n * n)


def _check_nrrd(start: bytes) -> None:
    found: dict[str, list[str]] = {}
    lines = _lines(start)
    if not re.fullmatch("NRRD000[1-9]", lines[0]):
        raise ValueError("it does not begin with NRRD")
    for line in lines[1:]:
        if not line:
            break
        if line.startswith("#") or re.match("[^:]+:=", line):  # a comment, or a key and value of the writer's own
            continue
        if _keep(found, line.split(":", maxsplit=1), _NRRD) == "datafile":
            raise ValueError("its voxels lie in another file: export it as one file")
    else:
        raise ValueError("its header has no end")
    _check_count(found, "dimension", "sizes")
    if "type" not in found or "encoding" not in found:
        raise ValueError("its header has no type or encoding")


def _lines(start: bytes) -> list[str]:
    """Split what may be followed by voxels: what cannot be text is found when a line is looked at."""
    return [line.removesuffix(b"\r").decode("latin-1") for line in start.split(b"\n")]


def _keep(found: dict[str, list[str]], field: list[str], patterns: dict[str, str]) -> str:
    """Check one field, ``[name, value]``, and keep the words of its value; returns its plain name."""
    name, line = re.sub(r"\s", "", field[0]).lower(), ":".join(field)
    longest = _LONGEST_NRRD if patterns is _NRRD else _LONGEST_META
    if len(field) < 2 or not name or len(line) > longest or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line):
        raise ValueError(f"its header has the line {line[:60]!r}")
    value = re.sub("[(),]", " ", field[1]) if patterns is _NRRD else field[1]
    words, pattern = value.split(), patterns.get(name)
    if patterns is _NRRD and pattern is None:  # its fields are a closed set
        raise ValueError(f"its header has the unknown field {line[:60]!r}")
    if name in found and pattern:
        raise ValueError(f"its header has two fields {name}")
    if pattern not in (None, _ANY) and not (
        0 < len(words) <= _MOST_WORDS and all(re.fullmatch(pattern, word) for word in words)
    ):
        raise ValueError(f"{name} in its header is {value.strip()[:60]!r}")
    found[name] = words
    return name


def _check_count(found: dict[str, list[str]], dimension: str, sizes: str) -> None:
    if len(found.get(dimension, ())) != 1:
        raise ValueError(f"its header has no {dimension}")
    _check_words(found, sizes, int(found[dimension][0]))
    if sizes not in found:
        raise ValueError(f"its header has no {sizes}")


def _check_words(found: dict[str, list[str]], name: str, count: int) -> None:
    if len(found.get(name, [""] * count)) != count:
        raise ValueError(f"{name} in its header has {len(found[name])} values, not {count}")
