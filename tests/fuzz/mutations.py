"""Ways to damage a file, each decided by a random generator alone, so that a number always makes the same damage."""

import gzip
import io
import random
import re
import struct
import zipfile
from collections.abc import Callable
from functools import partial

Mutation = Callable[[bytes, random.Random], bytes]

_WHOLE = (0, 1, -1, 2**7, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, -(2**31), 16384, 10**6)
_REAL = (0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 1e-320, 1e38)
_NUMBERS = (
    *("0", "-1", "1e308", "-1e309", "nan", "inf", "2147483648", "-2147483649", "18446744073709551616", "1" * 400),
    *("", "1.5", "0.1", "1e-320", "0x10", "1_0", "true", "null", "99999", "16385", "1,2", "[1, 2]", "{}", "'1'", "~"),
)
_WORDS = (
    *("../../x", "/etc/passwd", "\0", "a" * 70000, "", " ", "*", "%n%s", "nul", "os.system", "!!python/name:os.system"),
    *(
        "NaN",
        "<<: *a",
        "&a [*a]",
        "- " * 500,
        "ÿ\u202e\ud7ff",
        "\u2028",
        "\r",
        "\\u0000",
        "2020-13-45",
        "1:99:99",
        "=",
        "0b2",
    ),
)
_NESTED = ("[" * 3000, '{"a":' * 3000, "[" * 200 + "]" * 200, "- " * 3000, "{a: " * 1000, "[[[[", "}}}}", "? " * 2000)
_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_][\w.]*")


def damage(data: bytes, chance: random.Random) -> bytes:
    """Change bytes without knowing what they mean, once to four times, beginnings more often than their share."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_BYTES)(data, chance)
    return data


def damage_text(data: bytes, chance: random.Random) -> bytes:
    """Change numbers, words, lines and nesting of a text, once to three times."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        data = chance.choice(_TEXTS)(data, chance)
    return data


def inside_gzip(mutation: Mutation) -> Mutation:
    """Damage what a gzip file holds, and compress it again."""
    return partial(_inside_gzip, mutation)


def inside_zip(mutation: Mutation) -> Mutation:
    """Damage one member of a zip, its data or its name, and write the zip again."""
    return partial(_inside_zip, mutation)


def _inside_gzip(mutation: Mutation, data: bytes, chance: random.Random) -> bytes:
    return gzip.compress(mutation(gzip.decompress(data), chance), compresslevel=1, mtime=0)


def _inside_zip(mutation: Mutation, data: bytes, chance: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as written:
        names = archive.namelist()
        # Small members are the interesting ones: headers and pickles.
        chosen = min(chance.sample(names, k=min(3, len(names))), key=lambda name: archive.getinfo(name).file_size)
        for name in names:
            content, called = archive.read(name), name
            if name == chosen and chance.random() < 0.1:
                called = chance.choice(("../x", "/x", "x" * 300, "C:x", "a/../../x", name.upper()))
            elif name == chosen:
                content = mutation(content, chance)
            written.writestr(zipfile.ZipInfo(called), content)
    return out.getvalue()


def _at(data: bytes, chance: random.Random) -> int:
    end = len(data) if chance.random() < 0.5 else min(len(data), chance.choice((64, 400, 2000)))
    return chance.randrange(max(1, end))


def _length(data: bytes, chance: random.Random) -> int:
    return min(len(data), chance.choice((1, 2, 4, 8, 16, 64, 512, 4096)))


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        changed[_at(changed, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _number(data: bytes, chance: random.Random) -> bytes:
    order = chance.choice("<>")
    if chance.random() < 0.6:
        width, code = chance.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
        packed = struct.pack(order + code, chance.choice(_WHOLE) % 2 ** (8 * width))
    else:
        with_nan = chance.choice(_REAL)
        packed = struct.pack(order + "d", with_nan) if abs(with_nan) > 3e38 else struct.pack(order + "f", with_nan)
    at = _at(data, chance)
    return data[:at] + packed + data[at + len(packed) :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: _at(data, chance)]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at, length = _at(data, chance), _length(data, chance)
    return data[:at] + chance.choice((chance.randbytes(length), b"\0" * length, b"\xff" * length)) + data[at:]


def _duplicate(data: bytes, chance: random.Random) -> bytes:
    at, length, to = _at(data, chance), _length(data, chance), _at(data, chance)
    return data[:to] + data[at : at + length] * chance.choice((1, 2, 50)) + data[to:]


def _remove(data: bytes, chance: random.Random) -> bytes:
    at = _at(data, chance)
    return data[:at] + data[at + _length(data, chance) :]


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    at, length = _at(data, chance), _length(data, chance)
    filled = chance.choice((chance.randbytes(length), b"\0" * length, b"\xff" * length, data[:length]))
    return data[:at] + filled + data[at + length :]


def _replaced(data: bytes, chance: random.Random, pattern: re.Pattern[bytes], by: tuple[str, ...]) -> bytes:
    start = _at(data, chance)
    found = pattern.search(data, start) or pattern.search(data)
    new = chance.choice(by).encode("utf-8", "surrogatepass")
    return data[: found.start()] + new + data[found.end() :] if found else data + new


def _replace_number(data: bytes, chance: random.Random) -> bytes:
    return _replaced(data, chance, _NUMBER, _NUMBERS)


def _replace_word(data: bytes, chance: random.Random) -> bytes:
    return _replaced(data, chance, _WORD, (*_WORDS, *_NUMBERS))


def _swap_words(data: bytes, chance: random.Random) -> bytes:
    words = [match.group() for match in _WORD.finditer(data)] or [b"x"]
    return _replaced(data, chance, _WORD, (chance.choice(words).decode(),))


def _nest(data: bytes, chance: random.Random) -> bytes:
    at = _at(data, chance)
    return data[:at] + chance.choice(_NESTED).encode() + data[at:]


def _laugh(data: bytes, chance: random.Random) -> bytes:
    """Put a billion laughs before a YAML text, and use them in it."""
    used = _replaced(data, chance, re.compile(rb"(?<=: )\S[^\n]*"), ("*a11", "[*a11, *a10]", "{x: *a11}"))
    return _LAUGHS.encode() + used


def _change_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    at = chance.randrange(len(lines))
    line = lines[at]
    new: list[bytes] = chance.choice(
        ([line, line], [], [b"  " + line], [line.lstrip()], [line.rstrip(b"\r\n")], [line * 200], [b"\xff\xfe" + line])
    )
    return b"".join(lines[:at] + new + lines[at + 1 :])


_BYTES: tuple[Mutation, ...] = (
    *(_flip, _flip, _number, _number, _cut, _insert, _duplicate, _remove, _overwrite, _replace_number),
)
_TEXTS: tuple[Mutation, ...] = (
    *(_replace_number, _replace_number, _replace_word, _replace_word, _swap_words, _change_line, _change_line),
    *(_nest, _laugh, _flip, _cut),
)
