"""Submitit comes into a process without taking over its logging."""

import subprocess
import sys

CODE = """
import io, logging, os
class Mine(logging.StreamHandler):
    def close(self):
        self.stream.close()
handler = Mine(io.StringIO())
from nasoseg.comparison.slurm import import_submitit
submitit = import_submitit()
assert submitit.AutoExecutor
assert not handler.stream.closed
assert not logging.getLogger("submitit").handlers
assert "SUBMITIT_LOG_LEVEL" not in os.environ
"""


def test_handlers_of_others_stay_open():
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
