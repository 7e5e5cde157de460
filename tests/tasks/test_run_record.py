import json

import pytest

from nasoseg.errors import NasosegError
from nasoseg.tasks.run_record import read_starts, record_start


def test_every_start_is_kept_but_those_of_a_run_that_is_overwritten(tmp_path):
    assert read_starts(tmp_path) == []
    record_start(tmp_path, {"method": "a"}, resuming=False)
    record_start(tmp_path, {"method": "b"}, resuming=True)
    assert read_starts(tmp_path) == [{"method": "a"}, {"method": "b"}]
    record_start(tmp_path, {"method": "c"}, resuming=False)
    assert read_starts(tmp_path) == [{"method": "c"}]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", json.dumps({"format": "nasoseg-run", "version": 2, "starts": []}), '{"format": "nasoseg-run"'],
)
def test_a_damaged_record_is_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(NasosegError, match=r"run\.json: cannot be read as the record of a run.*remove the file"):
        read_starts(tmp_path)
