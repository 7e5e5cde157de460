"""How what a run raised is worded."""

import errno

import pytest

from nasoseg.cli.run_errors import word_error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("DataLoader worker (pid 7) exited unexpectedly"),
    ],
)
def test_only_a_training_is_told_that_it_can_go_on(error):
    assert word_error(error, trains=True).endswith(". What was trained is kept: resume with --ckpt_path last")
    assert "ckpt_path" not in word_error(error, trains=False)
