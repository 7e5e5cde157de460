"""Damage to files whose format is understood: one element of a DICOM object, one attribute of an HDF5 file."""

import io
import random
import struct
from contextlib import suppress

import h5py
import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

_TEXTS = (
    *(
        b"",
        b"0",
        b"-1",
        b"1e308",
        b"nan",
        b"inf",
        b"2147483648",
        b"1\\2",
        b"0\\0\\0\\0\\0\\0",
        b"a" * 3000,
        b"\xff\xfe",
    ),
    *(
        b"1\\0\\0\\1\\0\\0",
        b"1e-300\\1e-300",
        b"1e38\\1e38\\1e38",
        b"CT",
        b"../../x",
        b"\\\\\\",
        b"0x10",
        b"1.2.3",
        b" ",
    ),
    *(b"ISO 2022 IR 87", b"ISO_IR 999", b"9" * 200, b"3", b"65535", b"16384", b"1.2.840.10008.1.2.4.90", b"LABELMAP"),
)
_SHORTS = (0, 1, 2, 8, 15, 16, 17, 32, 64, 255, 511, 16384, 16385, 32768, 65535)


def edit_dicom(data: bytes, chance: random.Random) -> bytes:
    """Change, remove or repeat one to three elements at any depth of a DICOM object."""
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        out = io.BytesIO()
        try:
            for _ in range(chance.choice((1, 1, 2, 3))):
                _edit_element(*_element(dataset, chance), chance)
            dataset.save_as(out, enforce_file_format=False)
        except Exception:  # what an edit has made unreadable or unwritable is damaged as bytes instead
            return data[: chance.randrange(len(data))]
    return out.getvalue()


def _element(dataset: pydicom.Dataset, chance: random.Random) -> tuple[pydicom.Dataset, pydicom.DataElement]:
    holder = dataset.file_meta if chance.random() < 0.1 else dataset
    while True:
        tags = [tag for tag in holder.keys() if tag.element]  # noqa: SIM118 (the raw tags)
        if not tags:  # an earlier change has emptied it
            holder = pydicom.Dataset()
            holder.PatientName = "x"
            continue
        element = holder[chance.choice(tags)]
        if element.VR != "SQ" or not element.value or chance.random() < 0.2:
            return holder, element
        holder = chance.choice(list(element.value))


def _edit_element(holder: pydicom.Dataset, element: pydicom.DataElement, chance: random.Random) -> None:
    what = chance.random()
    tag, vr = element.tag, str(element.VR)
    if what < 0.15:
        del holder[tag]
    elif vr == "SQ":
        items = list(element.value)
        element.value = chance.choice(([], items * 3, items[1:], items[::-1], [pydicom.Dataset()], items * 500))
    else:
        if what < 0.25:
            vr = chance.choice(("UN", "OB", "DS", "IS", "LO", "US", "FD", "UI", "SQ"))
        if vr in ("US", "SS", "US or SS"):
            value = struct.pack("<H", chance.choice(_SHORTS)) * chance.choice((1, 1, 1, 2, 0))
        elif vr in ("FD", "FL", "OF", "OD", "UL"):
            value = struct.pack("<d", chance.choice((0.0, -1.0, np.nan, np.inf, 1e308)))
        elif tag == Tag("PixelData"):
            whole = bytes(element.value or b"\0")  # an earlier change may have emptied it
            at = chance.randrange(len(whole))
            value = chance.choice((b"", whole[: at & ~1], whole[:at] + chance.randbytes(16) + whole[at + 16 :]))
        else:
            value = chance.choice(_TEXTS)
        value += b"\0" * (len(value) % 2)
        vr = "US" if vr == "US or SS" else vr
        holder._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


def edit_hdf5(data: bytes, chance: random.Random) -> bytes:
    """Change one to three attributes, data sets, groups or links of an HDF5 file."""
    file_like = io.BytesIO(data)
    with h5py.File(file_like, "r+") as file:
        for _ in range(chance.choice((1, 1, 2, 3))):
            places: list[str] = [""]
            file.visit(places.append)
            place = file[chance.choice(places) or "/"]
            with suppress(OSError, ValueError):  # after what an earlier edit has done, not every other can be done
                chance.choice((_edit_attribute, _edit_attribute, _edit_link, _edit_dataset))(file, place, chance)
    return file_like.getvalue()


def _edit_attribute(file: h5py.File, place: h5py.Group, chance: random.Random) -> None:
    name = chance.choice([*place.attrs, "format", "annotated"])
    kind = chance.randrange(12)
    del_first = name in place.attrs
    old = place.attrs[name] if del_first else 0
    if del_first:
        del place.attrs[name]
    new: list[object] = [
        *(b"", "x" * 60000, "\ud7ff", np.nan, -1, np.zeros((3, 3)), np.full((4, 4), np.nan), np.full((4, 4), 1e308)),
        *(np.array([b"a", b"b"]), h5py.Empty("f8"), np.iinfo(np.int64).max, None),
    ]
    if kind == 11 and isinstance(old, np.ndarray) and old.dtype.kind in "fiu":
        new[11] = np.roll(old, 1) * -1
    if new[kind] is not None:
        place.attrs[name] = new[kind]


def _edit_link(file: h5py.File, place: h5py.Group, chance: random.Random) -> None:
    group = place if isinstance(place, h5py.Group) else place.parent
    names = list(group) or ["x"]
    name = chance.choice(names)
    kind = chance.randrange(7)
    if name in group and kind != 6:
        del group[name]
    if kind == 0:
        group[name] = h5py.SoftLink(chance.choice(("/", group.name, f"{group.name}/{name}", "/none")))
    elif kind == 1:
        group[name] = h5py.ExternalLink(chance.choice(("other.h5", "/etc/passwd", "store.h5")), "/patients")
    elif kind == 2:
        group[name] = file["/"]  # a circle
    elif kind == 3:
        group.create_group(name)
    elif kind == 4:
        group[name] = np.arange(3)
    elif kind == 6:
        group[chance.choice(("../x", "a\nb", "x" * 3000, "\u202e", " "))] = group.get(name, 1)


def _edit_dataset(file: h5py.File, place: h5py.Group, chance: random.Random) -> None:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    if not found:
        return
    name = chance.choice(found)
    shape = file[name].shape
    if np.prod(shape, dtype=np.float64) > 2**24:  # an earlier change has made it so large
        return
    dtype = file[name].dtype
    del file[name]
    kind = chance.randrange(9)
    slice_ = (1, *shape[1:])
    if kind == 0:  # as large as HDF5 allows, with nothing stored
        file.create_dataset(name, (10**6, *shape[1:]), dtype, chunks=slice_)
    elif kind == 1:
        file.create_dataset(name, shape, dtype, chunks=slice_)  # no slice is stored: all are the fill value
    elif kind == 2:
        file.create_dataset(name, (0, *shape[1:]), dtype, maxshape=(None, *shape[1:]), chunks=slice_)
    elif kind == 3:
        file.create_dataset(name, data=np.zeros(shape, np.float64))
    elif kind == 4:
        file.create_dataset(name, shape, h5py.string_dtype())
    elif kind == 5:
        file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    elif kind == 6:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource("other.h5", "x", shape)
        file.create_virtual_dataset(name, layout)
    elif kind == 7:
        file.create_dataset(name, shape, np.dtype([("a", "i2"), ("b", "f8")]))
    else:
        file.create_dataset(name, (2**14,) * len(shape), dtype, chunks=(1,) * len(shape))
