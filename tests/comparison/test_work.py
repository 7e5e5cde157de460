import dataclasses
import os
import signal
import sys
import time

import pytest

from nasoseg.comparison.jobs import Job
from nasoseg.comparison.work import Work, read_progress


@dataclasses.dataclass(frozen=True)
class Scripted(Job):
    """A job whose commands are Python lines; each leaves a file when it has ended well."""

    lines: tuple[str, ...] = ()

    def commands(self):
        left = [i for i in range(len(self.lines)) if not (self.run / str(i)).exists()]
        mark = f"; import pathlib; pathlib.Path(r'{self.run}').mkdir(exist_ok=True)"
        return [
            (sys.executable, "-c", self.lines[i] + mark + f"; pathlib.Path(r'{self.run}/{i}').touch()") for i in left
        ]


def scripted(tmp_path, *lines):
    return Scripted("unet", "clean", 0, tmp_path / "fold0", (), lines=lines)


def test_commands_run_in_order_and_their_output_is_kept(tmp_path):
    work = Work(scripted(tmp_path, "print('one')", "print('two')"))
    assert work.run() == "done"
    log = work.job.log.read_text()
    assert log.index("one\n") < log.index("two\n")


def test_a_failure_is_worded_with_our_own_error(tmp_path):
    line = "import sys; print('nasoseg fit: error: too dark', file=sys.stderr); print('bye'); sys.exit(1)"
    work = Work(scripted(tmp_path, line, "print('never')"))
    assert work.run() == "failed"
    assert work.fault == "exit code 1: nasoseg fit: error: too dark"
    assert "never\n" not in work.job.log.read_text()


def test_a_killed_process_is_said_to_be_killed(tmp_path):
    work = Work(scripted(tmp_path, "import os; os.kill(os.getpid(), 9)"))
    assert work.run() == "failed"
    assert work.fault == "killed by SIGKILL, perhaps for want of memory"


def test_a_command_that_leaves_nothing_is_not_repeated_for_ever(tmp_path):
    work = Work(scripted(tmp_path, "import sys; sys.exit(0)"))
    assert work.run() == "failed"
    assert "without its result" in work.fault


@pytest.mark.parametrize("ignored", [False, True])
def test_stopping_interrupts_and_the_next_start_goes_on(ignored, tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        _stop_and_start_again(tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def _stop_and_start_again(tmp_path):
    work = Work(scripted(tmp_path, "import time; print('begun', flush=True); time.sleep(60)"))
    work.start()
    for _ in range(200):
        if work.job.log.exists() and "begun\n" in work.job.log.read_text():
            break
        time.sleep(0.05)
    other = Work(work.job)
    other.start()
    assert other.poll() == "elsewhere"
    work.stop()
    assert work.state == "stopped"
    assert "KeyboardInterrupt" in work.job.log.read_text()
    again = Work(scripted(tmp_path, "pass"))
    assert again.run() == "done"


def test_a_training_that_outlives_the_benchmark_keeps_its_job(tmp_path):
    work = Work(scripted(tmp_path, "import time; time.sleep(60)"))
    work.start()
    process = work._process
    work._claim.close()  # as when the benchmark is killed
    try:
        second = Work(work.job)
        second.start()
        assert second.state == "elsewhere"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", None),
        ("\n$ fit\nUNet, 1.9 M parameters\n", None),
        ("\n$ fit\nepoch 1/14  loss 0.0429  val dsc 0.4736  32.4 images/s  196 s\n", (1, 14, 0.4736, 196)),
        (
            "\n$ fit\nepoch 1/3  loss 0.1  val dsc 0.2  3.0 images/s  9 s\n"
            "epoch 2/3  loss 0.1  val dsc nan  3.0 images/s  8 s\n",
            (2, 3, None, 8),
        ),
        ("\n$ fit\nepoch 3/3  loss 0.1  val dsc 0.2  3.0 images/s  9 s\n\n$ test\nnothing\n", None),
    ],
)
def test_progress_is_the_last_epoch_of_the_newest_command(log, expected):
    found = read_progress(log)
    if expected is None:
        assert found is None
    else:
        epoch, epochs, dsc, seconds = expected
        assert (found.epoch, found.epochs, found.seconds) == (epoch, epochs, seconds)
        assert found.dsc == dsc or (dsc is None and found.dsc != found.dsc)
