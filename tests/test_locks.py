import subprocess
import sys

import pytest

from nasoseg.locks import file_lock, own_lock, waiting_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")


def test_one_at_a_time_holds_it(tmp_path):
    path = tmp_path / "new" / "folder" / "lock"
    with file_lock(path) as first, file_lock(path) as second:
        assert first is not None
        assert second is None
    with file_lock(path) as free:
        assert free is not None


def test_a_child_with_the_descriptor_holds_it_until_it_ends(tmp_path):
    path = tmp_path / "lock"
    with file_lock(path) as descriptor:
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,))
    with file_lock(path) as found:
        assert found is None
    child.kill()
    child.communicate()
    with file_lock(path) as found:
        assert found is not None


def test_a_fault_inside_lets_go_of_it(tmp_path):
    def fail():
        with file_lock(tmp_path / "lock"):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    with file_lock(tmp_path / "lock") as found:
        assert found is not None


def test_who_waits_comes_next_and_no_file_is_left(tmp_path):
    count = tmp_path / "count"
    count.write_text("0")
    program = (
        "import sys, pathlib; from nasoseg.locks import waiting_lock; folder = pathlib.Path(sys.argv[1])\n"
        "for _ in range(200):\n"
        "    with waiting_lock(folder / 'lock'):\n"
        "        count = int((folder / 'count').read_text()); (folder / 'count').write_text(str(count + 1))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert count.read_text() == "600"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_a_lock_file_that_a_killed_process_left(tmp_path):
    (tmp_path / "lock").write_text("")
    with waiting_lock(tmp_path / "lock"):
        assert (tmp_path / "lock").exists()
    assert not (tmp_path / "lock").exists()


HOLDER = """
import os, sys, pathlib
from nasoseg.locks import own_lock
with own_lock(pathlib.Path(sys.argv[1])) as free:
    if os.fork():
        print(free, flush=True)
    input()  # the child too
"""


def test_a_lock_of_ones_own_ends_with_the_process_whatever_it_began(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "True\n"
        with own_lock(path) as free:
            assert not free
        assert path.exists()
        holder.kill()
        holder.wait()  # its child waits for a line still
        with own_lock(path) as free:
            assert free
        assert not path.exists()
