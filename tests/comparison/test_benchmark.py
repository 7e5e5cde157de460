"""A whole benchmark, small: dry run, jobs, report, and what a second call does."""

import csv
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml
from generated_benchmark import METHOD, write_benchmark

from nasoseg.cli import main
from nasoseg.comparison.benchmark import report_benchmark
from nasoseg.comparison.jobs import make_jobs
from nasoseg.comparison.plan import read_plan


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
    ended = subprocess.run(
        [sys.executable, "-m", "nasoseg", "benchmark", config, "--jobs", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    return SimpleNamespace(config=config, out=folder / "out", ended=ended)


def test_a_broken_method_fails_alone_and_first(finished):
    assert finished.ended.returncode == 1
    said = finished.ended.stdout
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


def test_a_changed_config_is_not_mixed_with_earlier_results(finished, tmp_path, capsys):
    deeper = METHOD | {"model": {"class_path": "nasoseg.UNet", "init_args": {"depth": 3, "width": 4}}}
    (finished.config.parent / "deeper.yaml").write_text(yaml.safe_dump(deeper))
    changed = {"methods": {"unet": "deeper.yaml"}, "protocols": "paper"}
    config = finished.config.with_name("changed.yaml")
    config.write_text(yaml.safe_dump(yaml.safe_load(finished.config.read_text()) | changed))
    assert main(["benchmark", str(config), "--dry-run"]) == 1
    said = capsys.readouterr().out
    assert "was begun with another config (model.init_args.depth: 2, now 3)" in said
    resolved = yaml.safe_load((finished.out / "paper" / "unet" / "fold1.yaml").read_text())
    assert resolved["model"]["init_args"]["depth"] == 2


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


def test_ctrl_c_stops_at_once_and_the_next_call_ends_where_it_would_have(small_store, tmp_path):
    config = write_benchmark(tmp_path, small_store, methods={"unet": "unet.yaml"})
    command = [sys.executable, "-m", "nasoseg", "benchmark", str(config), "--trainer.max_epochs", "400"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )
    checkpoint = tmp_path / "out" / "clean" / "unet" / "fold0" / "checkpoints" / "last.ckpt"
    for _ in range(3000):
        if checkpoint.exists():
            break
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130, said
    assert "stopped" in said
    job = make_jobs(read_plan(config))[0]
    with job.claimed() as descriptor:
        assert descriptor is not None  # nothing of it runs on
    assert job.commands()[0][-2:] == ("--ckpt_path", "last")


@pytest.mark.timeout(300)
def test_two_nodes_of_a_real_slurm_run_a_matrix(slurm, small_store, tmp_path):
    config = write_benchmark(tmp_path, small_store, protocols={"paper": "all"}, slurm={"timeout_min": 5})
    ended = subprocess.run(
        [sys.executable, "-m", "nasoseg", "benchmark", str(config), "--slurm"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for method in ("unet", "two_stage"):
        assert (tmp_path / "out" / "paper" / method / "fold0" / "metrics.csv").is_file()
    accounted = subprocess.run(["scontrol", "-o", "show", "jobs"], capture_output=True, text=True, check=True).stdout
    assert sorted(set(re.findall(r"BatchHost=(\w+)", accounted))) == ["n1", "n2"]
