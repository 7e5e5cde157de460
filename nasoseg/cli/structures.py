"""``nasoseg structures``: list the names of structures in a folder, and what they mean."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from nasoseg.errors import NasosegError

if TYPE_CHECKING:  # pydicom and NumPy load slowly, and the dispatcher imports every command
    from nasoseg.data.structure_names import FoundNames
    from nasoseg.structure_map import Match, StructureMap

HELP = "list the structure names in a folder, how often each occurs, and which structure it means"
EXAMPLE = "nasoseg structures export/ --draft structures.yaml"

_GROUPS = ("structures", "ignored", "unknown", "in conflict")
_WIDEST = 64  # cells of a column; DICOM's names have up to 64 characters
_LONGEST_DRAFTED = 128  # characters; what is longer is no name
_MOST_LISTED = 20


@dataclass
class _Name:
    """Count one name."""

    patients: set[str] = field(default_factory=set)
    files: int = 0
    types: set[str] = field(default_factory=set)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("root", metavar="ROOT", type=Path, help="folder or zip of RTSTRUCT, SEG or segmentations/<name>.nii.gz, nested")
    add("--structures", metavar="FILE", type=Path, help="your structures file (default: the names that are shipped)")
    add("--draft", metavar="FILE", type=Path, help="write a structures file with the unknown names to fill in")
    add("--force", action="store_true", help="overwrite the draft")


def run(arguments: argparse.Namespace) -> int:
    """Print the names; 0 if some were found, all files could be read and no name is in conflict."""
    from nasoseg.data.structure_names import find_structure_names
    from nasoseg.progress import ProgressDisplay
    from nasoseg.safe_names import printable
    from nasoseg.structure_map import load_structure_map

    root, draft = arguments.root, arguments.draft
    if draft and draft.exists() and not arguments.force:
        raise NasosegError(f"{draft}: exists: choose another --draft, or pass --force to overwrite it")
    structure_map = load_structure_map(arguments.structures)
    with ProgressDisplay("reading names") as progress:
        found = find_structure_names(root, progress=progress)
    names = _count(found)
    matches = {name: structure_map.match(name, roi_type=_tissueless(n.types)) for name, n in names.items()}
    clashes = _clashes(found, structure_map, matches)
    print(_table(names, matches))
    print(_summary(found, matches))
    for note, files in clashes.most_common(_MOST_LISTED):
        print(f"in {_counted(files, 'file')}: {printable(note)}")
    for path, why in found.unreadable[:_MOST_LISTED]:
        print(f"{printable(str(path))}: could not be read: {printable(why)}", file=sys.stderr)
    if len(found.unreadable) > _MOST_LISTED:
        print(f"and {len(found.unreadable) - _MOST_LISTED} more that could not be read", file=sys.stderr)
    if not names:
        raise NasosegError(
            f"{root}: no structure name found: expected RTSTRUCT or DICOM SEG files, or folders called segmentations"
            " with .nii.gz masks"
        )
    unknown = {name: names[name] for name, match in matches.items() if match.rule == "unknown"}
    if draft:
        _write_draft(draft, unknown, structure_map, arguments.structures)
    elif unknown:
        print("--draft FILE writes a structures file with the unknown names to fill in.")
    conflicts = any(match.rule == "conflict" for match in matches.values())
    return 1 if conflicts or found.unreadable else 0


def _count(found: "FoundNames") -> dict[str, _Name]:
    names: dict[str, _Name] = {}
    for file in found.files:
        for name, roi_type in dict(zip(file.names, file.roi_types, strict=True)).items():
            counted = names.setdefault(name, _Name())
            counted.patients.add(file.patient)
            counted.files += 1
            counted.types.add(roi_type)
    return names


def _tissueless(types: set[str]) -> str:
    from nasoseg.structure_map import NO_TISSUE

    return min(types) if types <= NO_TISSUE else ""


def _clashes(found: "FoundNames", structure_map: "StructureMap", matches: "dict[str, Match]") -> Counter[str]:
    """Count the files in which several names mean one structure, by what is said of it."""
    notes: Counter[str] = Counter()
    for file in found.files:
        assigned = zip(file.names, structure_map.assign(file.names), strict=True)
        lost = [(name, match) for name, match in assigned if matches[name].structure and not match.structure]
        notes.update({m.note if m.rule == "conflict" else f"{name!r} is left out: {m.note}" for name, m in lost})
    return notes


def _group(match: "Match") -> str:
    if match.structure:
        return "structures"
    return {"ignored": "ignored", "conflict": "in conflict"}.get(match.rule, "unknown")


def _table(names: dict[str, _Name], matches: "dict[str, Match]") -> str:
    """Lay out a line a name: structures first, unknown names last, each group by how often it occurs."""
    rows = [("name", "patients", "files", "structure", "rule")]
    order = {group: i for i, group in enumerate(_GROUPS)}
    for name in sorted(names, key=lambda n: (order[_group(matches[n])], -len(names[n].patients), -names[n].files, n)):
        match, counted = matches[name], names[name]
        structure = match.structure.name if match.structure else "-"
        rule = match.rule + (f": {match.note}" if match.note else "")
        rows.append((name or "(blank)", str(len(counted.patients)), str(counted.files), structure, rule))
    return "\n".join(_aligned(rows))


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    from rich.cells import cell_len, set_cell_size

    from nasoseg.safe_names import printable

    cells = [[printable(text) for text in row] for row in rows]
    cells = [[t if cell_len(t) <= _WIDEST else set_cell_size(t, _WIDEST - 1) + "…" for t in row] for row in cells]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (" " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True))
        parts = (p + t if i in (1, 2) else t + p for i, (t, p) in enumerate(zip(row, padded, strict=True)))
        yield "  ".join(parts).rstrip()


def _summary(found: "FoundNames", matches: "dict[str, Match]") -> str:
    kinds = Counter(file.kind for file in found.files)
    files = ", ".join(_counted(n, "folder of masks") if kind == "masks" else f"{n} {kind}" for kind, n in kinds.items())
    groups = Counter(map(_group, matches.values()))
    different = len({match.structure.name for match in matches.values() if match.structure})
    counts = [f"{groups['structures']} mean {_counted(different, 'structure')}"]
    counts += [f"{groups[group]} {group}" for group in _GROUPS[1:] if groups[group]]
    patients = _counted(len({file.patient for file in found.files}), "patient")
    unread = f"; {_counted(len(found.unreadable), 'file')} could not be read" if found.unreadable else ""
    return f"\n{_counted(len(matches), 'name')} in {patients} ({files or 'no file'}): {', '.join(counts)}{unread}"


def _counted(number: int, noun: str) -> str:
    first, *rest = noun.split(" ")
    return " ".join([str(number), first + "s" * (number != 1), *rest])


def _write_draft(draft: Path, unknown: dict[str, _Name], structure_map: "StructureMap", extends: Path | None) -> None:
    import yaml

    from nasoseg.files import whole_file

    def quoted(text: str) -> str:
        text = yaml.safe_dump(text, default_style='"', width=sys.maxsize, allow_unicode=text.isprintable()).strip()
        return text if len(text) < 1000 else f"? {text}\n  "  # YAML's limit for a key before its colon is 1024

    known = ", ".join(structure.name for structure in structure_map.structures())
    lines = [
        "# Write the structure behind each name, or `ignore`, or nothing to leave it undecided.",
        fill(f"Structures: {known}.", 118, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False),
        "# New ones go under `structures` or `pairs`: see the beginning of nasoseg's own structures.yaml.",
        f"extends: {quoted(os.path.abspath(extends)) if extends else 'shipped'}",
        "structures: {}",
        "pairs: {}",
        "names:" if unknown else "names: {}",
    ]
    drafted = [name for name in unknown if name.strip() and len(name) <= _LONGEST_DRAFTED]
    for name in sorted(drafted, key=lambda n: (-len(unknown[n].patients), n)):
        count = f"{_counted(len(unknown[name].patients), 'patient')}, {_counted(unknown[name].files, 'file')}"
        lines.append(f"  {quoted(name)}:  # in {count}")
    if len(drafted) < len(unknown):
        lines.append(
            f"# {len(unknown) - len(drafted)} names left out: blank, or longer than {_LONGEST_DRAFTED} characters"
        )
    try:
        with whole_file(draft) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise NasosegError(f"{draft}: could not be written ({error.strerror}): choose another --draft") from error
    print(f"{draft}: {_counted(len(drafted), 'name')} to fill in; then pass it with --structures")
