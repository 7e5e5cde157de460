"""A whole benchmark, small: dry run, jobs, report, and what a second call does."""

import csv
import io
import os
import re
import shutil
import signal
import subprocess
import threading
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
import yaml
from generated_benchmark import METHOD, write_benchmark

from nasoseg.cli import main
from nasoseg.comparison.benchmark import report_benchmark
from nasoseg.comparison.jobs import make_jobs
from nasoseg.comparison.plan import read_plan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(small_store, tmp_path_factory):
    """A benchmark of two methods, one of them broken, under both protocols, that has been run once."""
    folder = tmp_path_factory.mktemp("benchmark")
    write_benchmark(folder, small_store)
    broken = {"model": {"class_path": "nasoseg.UNet", "init_args": {"widht": 4}}}
    (folder / "broken.yaml").write_text(yaml.safe_dump(broken))
    methods = {"unet": "unet.yaml", "broken": "broken.yaml"}
    protocols = {"clean": "all", "paper": ["unet"]}
    config = write_benchmark(folder, small_store, methods=methods, protocols=protocols, only_folds=[1])
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()):
        code = main(["benchmark", str(config), "--jobs", "2"])
    return SimpleNamespace(config=config, out=folder / "out", code=code, said=said.getvalue())


def test_a_broken_method_fails_alone_and_first(finished):
    assert finished.code == 1
    said = finished.said
    assert "cannot run clean/broken/fold1" in said
    assert "did you mean 'width'?" in said
    assert said.index("cannot run") < said.index("3 jobs: 0 done before, 2 to run, 1 cannot run")
    assert not (finished.out / "clean" / "broken" / "fold1").exists()


def test_every_other_job_leaves_a_run_folder_with_results(finished):
    for protocol in ("clean", "paper"):
        run = finished.out / protocol / "unet" / "fold1"
        with (run / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {(row["method"], row["protocol"], row["fold"]) for row in rows} == {("unet", protocol, "1")}
    patients = {path.name for path in (finished.out / "clean" / "unet" / "fold1" / "predictions").iterdir()}
    assert len(patients) == 3
    assert not (finished.out / "paper" / "unet" / "fold1" / "predictions").exists()


def test_a_job_is_a_plain_fit_that_can_be_rerun_by_hand(finished, tmp_path):
    resolved = yaml.safe_load((finished.out / "clean" / "unet" / "fold1.yaml").read_text())
    assert resolved["model"]["init_args"]["depth"] == 2
    assert resolved["data"]["split"] == str(finished.out / "clean" / "split.json")
    assert resolved["trainer"]["fast_dev_run"] is False
    log = (finished.out / "clean" / "unet" / "fold1.log").read_text()
    commands = [line.split(" nasoseg ")[1].split()[0] for line in log.splitlines() if line.startswith("$ ")]
    assert commands == ["fit", "test", "predict"]


def test_the_report_is_there(finished):
    text = (finished.out / "report" / "comparison.md").read_text()
    assert "Protocol clean" in text
    assert "Protocol paper" in text
    assert "params, M" in text  # counted by the dry run


def test_a_second_call_runs_nothing_and_reports_again(finished, capsys):
    shutil.rmtree(finished.out / "report")
    before = (finished.out / "clean" / "unet" / "fold1.log").stat().st_mtime_ns
    plan = read_plan(finished.config)
    jobs = [job for job in make_jobs(plan) if job.method == "unet"]
    assert all(job.done and not job.commands() for job in jobs)
    report_benchmark(plan, jobs)
    assert (finished.out / "report" / "comparison.md").is_file()
    assert (finished.out / "clean" / "unet" / "fold1.log").stat().st_mtime_ns == before


def test_results_of_another_split_are_refused(finished, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    for protocol in ("clean", "paper"):
        (out / protocol / "split.json").unlink()
    plan = yaml.safe_load(finished.config.read_text()) | {"out": str(out), "seed": 5}
    config = finished.config.with_name("seed5.yaml")
    config.write_text(yaml.safe_dump(plan))
    assert main(["benchmark", str(config)]) == 1
    assert re.search(r"metrics\.csv: is a result of .*choose another --out", capsys.readouterr().err)


def test_another_seed_does_not_replace_the_split_that_is_there(finished, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(finished.out, out)
    plan = yaml.safe_load(finished.config.read_text()) | {"out": str(out), "seed": 5}
    config = finished.config.with_name("seed5_beside.yaml")
    config.write_text(yaml.safe_dump(plan))
    assert main(["benchmark", str(config)]) == 1
    assert "results of two splits cannot be mixed" in capsys.readouterr().err


def test_a_slip_in_an_option_is_not_handed_to_fit(finished, capsys):
    assert main(["benchmark", str(finished.config), "--job", "2", "--jops", "2"]) == 1
    assert "'--jobs'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def interrupted(finished):
    """A second call into the same folder, with a deeper network and one fold more; Ctrl-C when that fold trains."""
    deeper = METHOD | {"model": {"class_path": "nasoseg.UNet", "init_args": {"depth": 3, "width": 4}}}
    (finished.config.parent / "deeper.yaml").write_text(yaml.safe_dump(deeper))
    changed = {"methods": {"unet": "deeper.yaml"}, "protocols": "paper", "only_folds": [0, 1]}
    config = finished.config.with_name("changed.yaml")
    config.write_text(yaml.safe_dump(yaml.safe_load(finished.config.read_text()) | changed))
    checkpoint = finished.out / "paper" / "unet" / "fold0" / "checkpoints" / "last.ckpt"
    ended = threading.Event()

    def press_ctrl_c():
        while not checkpoint.exists() and not ended.wait(0.1):
            pass
        if not ended.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    presses = threading.Thread(target=press_ctrl_c)
    presses.start()
    try:
        with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()) as board:
            code = main(["benchmark", str(config), "--trainer.max_epochs", "400"])
    finally:
        ended.set()
        presses.join()
        signal.signal(signal.SIGINT, before)
    return SimpleNamespace(config=config, code=code, said=said.getvalue(), board=board.getvalue())


def test_a_changed_config_is_not_mixed_with_earlier_results(interrupted, finished):
    assert re.search(r"cannot run paper/unet/fold1: .* was begun with another config", interrupted.said)
    assert "(model.init_args.depth: 2, now 3; trainer.max_epochs: 1, now 400)" in interrupted.said
    resolved = yaml.safe_load((finished.out / "paper" / "unet" / "fold1.yaml").read_text())
    assert resolved["model"]["init_args"]["depth"] == 2


def test_ctrl_c_stops_at_once_and_the_next_call_ends_where_it_would_have(interrupted):
    assert interrupted.code == 130, interrupted.said
    assert "paper/unet/fold0: stopped" in interrupted.board
    job = make_jobs(read_plan(interrupted.config))[0]
    with job.claimed() as descriptor:
        assert descriptor is not None  # nothing of it runs on
    assert job.commands()[0][-2:] == ("--ckpt_path", "last")


@pytest.mark.timeout(300)
def test_two_nodes_of_a_real_slurm_run_a_matrix(slurm, small_store, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("nasoseg.comparison.slurm._SECONDS_BETWEEN_LOOKS", 0.5)
    changes = {"methods": {"unet": "unet.yaml"}, "protocols": "paper", "only_folds": [0, 1]}
    config = write_benchmark(tmp_path, small_store, **changes, slurm={"timeout_min": 5})
    assert main(["benchmark", str(config), "--slurm"]) == 0, capsys.readouterr()
    for fold in ("fold0", "fold1"):
        assert (tmp_path / "out" / "paper" / "unet" / fold / "metrics.csv").is_file()
    accounted = subprocess.run(["scontrol", "-o", "show", "jobs"], capture_output=True, text=True, check=True).stdout
    assert sorted(set(re.findall(r"BatchHost=(\w+)", accounted))) == ["n1", "n2"]
