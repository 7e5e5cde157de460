"""A folder that takes another's place: at no step is there half of either under the name."""

import shutil
from pathlib import Path

import pytest

from nasoseg.files import whole_folder


def write(path, names):
    with whole_folder(path) as folder:
        for name in names:
            (folder / name).write_text(name)


def names_in(path):
    return frozenset(one.name for one in path.iterdir()) if path.exists() else None


def test_no_step_leaves_half_a_folder(tmp_path, monkeypatch):
    path = tmp_path / "out"
    write(path, "ab")
    seen = []
    for owner, name in ((Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
        real = getattr(owner, name)

        def watched(*arguments, real=real, **options):
            seen.append(names_in(path))
            real(*arguments, **options)
            seen.append(names_in(path))

        monkeypatch.setattr(owner, name, watched)
    write(path, "cd")
    assert set(seen) == {frozenset("ab"), None, frozenset("cd")}
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_is_kept_where_the_new_cannot_have_its_name(tmp_path, monkeypatch):
    path = tmp_path / "out"
    write(path, "ab")
    real = Path.replace

    def failing(self, target):
        if self.name == ".tmp.out":
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Input/output"):
        write(path, "cd")
    assert names_in(tmp_path / ".old.out") == frozenset("ab")


def test_what_a_killed_process_moved_aside_goes_with_the_next(tmp_path):
    (tmp_path / ".old.out").mkdir()
    (tmp_path / ".old.out" / "a").write_text("old")
    write(tmp_path / "out", "cd")
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
