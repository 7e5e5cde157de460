"""Signal 9 at many moments: what was finished stays, the command can be repeated, and the end is the same.

Ten moments a command (five of a report, two of a benchmark) for every change, in forked processes; fifty by night, also
in processes that start from nothing.
"""

import os
import signal
import time

import pytest
import victims
from kills import kill_often
from plain_process import PlainCommands
from whole import check_whole

HOW = [
    pytest.param(("warm", 10), id="10", marks=pytest.mark.slow),
    pytest.param(("warm", 50), id="50", marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
    pytest.param(("plain", 50), id="50-from-nothing", marks=[pytest.mark.nightly, pytest.mark.timeout(7200)]),
]


@pytest.fixture(params=HOW)
def kill(request, warm, tmp_path):
    """Run a victim undisturbed, then kill it; each day fewer times where that takes long."""
    kind, kills = request.param
    commands = warm if kind == "warm" else PlainCommands()

    def run(victim, *, by_day=10):
        whole = tmp_path / "whole"
        whole.mkdir()
        began = time.monotonic()
        code, said = commands.run(*victim.arguments(whole), log=tmp_path / "whole.log")
        seconds = time.monotonic() - began
        assert code == 0, said
        assert check_whole(whole) > 0
        undisturbed = victim.results(whole)
        kill_often(
            commands,
            victim,
            tmp_path / "killed",
            undisturbed=undisturbed,
            seconds=seconds,
            kills=by_day if kills == 10 else kills,
        )

    return run


def test_prepare(kill, studies):
    kill(victims.prepare(studies))


def test_fit(kill, fit_config):
    """Bit-equal weights: of the best, the last and the last but one epoch."""
    kill(victims.fit(fit_config))


def test_segment(kill, run_folder, studies, tmp_path):
    kill(victims.segment(run_folder, studies, tmp_path / "scans"))


def test_report(kill, run_folder):
    kill(victims.report(run_folder), by_day=5)  # its figures take seconds


@pytest.fixture(scope="module")
def benchmark_config(fit_config):
    return victims.write_benchmark(fit_config.with_name("benchmark"), fit_config)


def test_benchmark(kill, benchmark_config):
    kill(victims.benchmark(benchmark_config), by_day=2)  # it takes ten times a fit


@pytest.mark.slow
def test_a_training_that_outlives_its_benchmark_is_waited_for_and_the_rest_is_done(warm, benchmark_config, tmp_path):
    log = tmp_path / "log"
    command = victims.benchmark(benchmark_config).arguments(tmp_path)
    first = warm.start(*command, log=log)
    job = tmp_path / "out" / "clean" / "unet" / "fold0.log"
    deadline = time.monotonic() + 60
    while not (job.with_suffix("") / "config.yaml").exists():  # the log names the command just before it begins
        assert time.monotonic() < deadline, first.said
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)  # its training is in a session of its own
    assert first.wait(10) == -signal.SIGKILL
    code, said = warm.run(*command, log=log)
    assert code == 0, said
    assert job.read_text().count(" fit ") == 1
    assert victims.benchmark_results(tmp_path)


def test_the_harness_gives_codes_and_kills(warm, fit_config, tmp_path):
    code, said = warm.run("fit", "--config", tmp_path / "none.yaml", log=tmp_path / "log")
    assert (code, "no file" in said) == (1, True)
    running = warm.start("fit", "--config", fit_config, "--run", tmp_path / "run", log=tmp_path / "log")
    assert running.wait(0.01) is None
    warm.kill_all()
    assert running.wait(10) == -signal.SIGKILL
