import io
import re

import pytest
from rich.console import Console

from nasoseg.comparison.board import Board
from nasoseg.comparison.jobs import Job
from nasoseg.comparison.work import Progress


@pytest.fixture
def jobs(tmp_path):
    return [
        Job(method, "clean", fold, tmp_path / method / f"fold{fold}", ())
        for fold in (0, 1)
        for method in ("unet", "two_stage")
    ]


def drawn(board):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(board)
    return console.export_text()


def test_the_table_says_what_runs_how_far_and_what_came_out(jobs):
    board = Board(jobs, slots=1)
    board.update(jobs[0], "done", score=0.7314)
    board.update(jobs[1], "running", progress=Progress(3, 14, 0.4736, 196.0))
    board.update(jobs[2], "failed")
    text = drawn(board)
    assert re.search(r"unet\W+0\.731\W+failed", text)
    assert re.search(r"two_stage\W+3/14 \(0\.474\)", text)
    assert "1 of 4 done, 1 running, 1 failed" in text


def test_the_time_left_is_worked_by_hand(jobs):
    board = Board(jobs, slots=1)
    assert board.seconds_left() is None
    board.update(jobs[1], "running", progress=Progress(4, 10, None, 60.0))
    # two_stage: 600 s a job; 360 s left here and 600 s on fold 1; unet is taken to cost the same: 2 x 600 s.
    assert board.seconds_left() == pytest.approx(360 + 600 + 1200)
    board.update(jobs[0], "done", progress=Progress(10, 10, None, 30.0))
    assert board.seconds_left() == pytest.approx(360 + 600 + 300)
    assert Board(jobs, slots=2).slots == 2
    board.slots = 4
    assert board.seconds_left() == pytest.approx(600)  # no sooner than the longest job


def test_no_time_is_left_when_all_have_ended(jobs):
    board = Board(jobs[:2], slots=1)
    for job in jobs[:2]:
        board.update(job, "running", progress=Progress(10, 10, None, 30.0))
    board.update(jobs[0], "done", score=0.5)
    board.update(jobs[1], "failed")
    assert board.footer() == "1 of 2 done, 1 failed"


def test_without_a_terminal_changes_are_lines(jobs, capsys):
    with Board(jobs, slots=1) as board:
        board.update(jobs[0], "running")
        board.update(jobs[0], "running")
        board.update(jobs[0], "done", score=0.5)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["clean/unet/fold0: running", "clean/unet/fold0: done 0.500"]
