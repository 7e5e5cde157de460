"""Every byte that a folder holds, as it lies there and as it unfolds: gzip, HDF5, zip, and base64 in HTML and SVG."""

import base64
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{64,}={0,2}")
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)  # of a PDF


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what each file holds, once for each way to read it, with a name for it; names of files are given too."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        yield f"name of {name}", name.encode()
        if path.is_file():
            yield from unfolded(name, path.read_bytes())


def unfolded(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield bytes, and what they unfold to."""
    yield name, data
    if data.startswith(b"\x1f\x8b"):
        yield from unfolded(f"{name}, unpacked", gzip.decompress(data))
    elif data.startswith(b"\x89HDF"):
        with h5py.File(io.BytesIO(data)) as file:
            yield from _hdf5(name, file)
    elif data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for part in archive.namelist():
                yield from unfolded(f"{name}/{part}", archive.read(part))
    elif data.startswith(b"%PDF"):
        for stream in _STREAM.findall(data):
            try:
                yield f"{name}, stream", zlib.decompress(stream)
            except zlib.error:
                continue
    elif data.startswith(b"\x89PNG"):
        yield f"{name}, pixels", zlib.decompress(b"".join(_png_pixels(data)))
    else:
        for text in _BASE64.findall(data):
            yield from unfolded(f"{name}, base64", base64.b64decode(text + b"=" * (-len(text) % 4)))


def _hdf5(name: str, file: h5py.File) -> Iterator[tuple[str, bytes]]:
    items: list[tuple[str, h5py.HLObject]] = [("", file)]
    file.visititems(lambda inner, item: items.append((inner, item)))
    for inner, item in items:
        yield f"{name}/{inner}", inner.encode()
        for key, value in item.attrs.items():
            yield f"{name}/{inner}@{key}", f"{key}={value}".encode(errors="surrogateescape")
        if isinstance(item, h5py.Dataset):
            yield f"{name}/{inner}, unpacked", item[()].tobytes()


def _png_pixels(data: bytes) -> Iterator[bytes]:
    place = 8
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind == b"IDAT":
            yield data[place + 8 : place + 8 + length]
        place += 12 + length


def written_as(text: str) -> set[bytes]:
    """Return the bytes that a text may be: several encodings, any case aside."""
    forms = {text, text.replace("^", " "), text.replace(" ", "_")}
    return {form.encode(code).lower() for form in forms for code in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")}
