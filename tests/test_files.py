import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nasoseg.files import whole_file, whole_folder


def fail_at(path, whole):
    with whole(path) as temporary:
        (temporary if whole is whole_file else temporary / "half.txt").write_text("half")
        raise RuntimeError("disk full")


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="full"):
        fail_at(path, whole_file)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "out"
    for text in ("first", "second"):
        with whole_folder(path) as temporary:
            (temporary / f"{text}.txt").write_text(text)
            assert not (path / f"{text}.txt").exists()
    assert [p.name for p in path.iterdir()] == ["second.txt"]
    with pytest.raises(RuntimeError, match="full"):
        fail_at(path, whole_folder)
    assert [p.name for p in path.iterdir()] == ["second.txt"]
    assert list(tmp_path.iterdir()) == [path]


KILLED_WHILE_WRITING = """
import os, signal, sys
from nasoseg.files import whole_file
with whole_file(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="signal 9")
def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    with subprocess.Popen([sys.executable, "-c", KILLED_WHILE_WRITING, str(path)]) as child:
        assert child.wait() == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    others = [
        left.with_name(left.name.replace("a.txt", "b.txt")),
        left.with_name(left.name.replace(f"-{child.pid}.", f"-{os.getppid()}.")),  # which still runs
        left.with_name(left.name.replace(f"-{child.pid}.", "-1.")),  # another user's, or our own
        left.with_name(left.name.replace(f"-{child.pid}.", "-99999999999999999999.")),
        left.with_name(left.name.replace(f"-{child.pid}.", "-x.")),
        left.with_name(f".00000000-{child.pid}.tmp.a.txt"),  # another machine's
        left.with_name(f".{child.pid}.tmp.a.txt"),
    ]
    for other in others:
        other.write_text("")
    with whole_file(path) as temporary:
        assert not left.exists()
        temporary.write_text("whole")
    assert {*tmp_path.iterdir()} == {path, *others}


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_a_leftover_that_cannot_be_removed_hinders_nobody(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    with subprocess.Popen([sys.executable, "-c", KILLED_WHILE_WRITING, str(path)]) as child:
        child.wait()
    (left,) = tmp_path.iterdir()
    remove = Path.unlink

    def unlink(self, **how):
        if self == left:  # another user's, in a folder where each removes his own only
            raise PermissionError(1, "Operation not permitted")
        remove(self, **how)

    monkeypatch.setattr(Path, "unlink", unlink)
    with whole_file(path) as temporary:
        temporary.write_text("whole")
    assert {*tmp_path.iterdir()} == {path, left}


def test_what_a_killed_process_left_does_not_get_in(tmp_path):
    (tmp_path / ".tmp.out").mkdir()
    (tmp_path / ".tmp.out" / "half.txt").write_text("")
    with whole_folder(tmp_path / "out") as temporary:
        (temporary / "whole.txt").write_text("")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole.txt"]
