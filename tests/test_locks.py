import subprocess
import sys

import pytest

from nasoseg.locks import file_lock

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
