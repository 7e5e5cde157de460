"""What a benchmark finds out about nnU-Net's jobs before it begins: wrong options, and runs of other options."""

from types import SimpleNamespace

import pytest
import yaml
from generated_benchmark import write_benchmark

from nasoseg.cli import main
from nasoseg.cli.rehearsal import rehearse_nnunet
from nasoseg.comparison.jobs import make_jobs
from nasoseg.comparison.nnunet import Asked, run_nnunet
from nasoseg.comparison.nnunet_environment import Environment
from nasoseg.comparison.nnunet_options import Options
from nasoseg.comparison.plan import read_plan
from nasoseg.comparison.rehearsal import rehearse
from nasoseg.data.splits import make_split
from nasoseg.errors import NasosegError

OPTIONS = {"configuration": "2d", "epochs": 31, "iterations_per_epoch": 250}


def planned(folder, store, **options):
    """A benchmark of nnU-Net alone, folds 0 and 1, with the split that its jobs read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nnunet.yaml").write_text(yaml.safe_dump({"nnunet": options}))
    path = write_benchmark(folder, store, methods={"nnunet": "nnunet.yaml"}, only_folds=[0, 1])
    plan = read_plan(path)
    split = make_split(store, folds=4)
    plan.split_path("clean").parent.mkdir(parents=True, exist_ok=True)
    split.save(plan.split_path("clean"))
    return SimpleNamespace(path=path, jobs=make_jobs(plan), split=split)


def test_results_of_other_options_are_not_taken_for_done(small_store, tmp_path):
    begun = planned(tmp_path, small_store, **OPTIONS)
    nowhere = Environment(tmp_path / "python", tmp_path, "2.8.1", False)
    asked = Asked(fold=0, labels=small_store.names, options=Options(**OPTIONS))
    tested = begun.jobs[0].run
    with pytest.raises(NasosegError):  # there is no nnU-Net: it leaves the config of a run that was begun
        run_nnunet(small_store, begun.split, asked, run=tested, find=lambda: nowhere, say=lambda line: None)
    (tested / "metrics.csv").touch()
    rehearse_nnunet(begun.jobs[0].arguments)
    rehearse_nnunet(planned(tmp_path, small_store, **OPTIONS, device="cpu", processes=3).jobs[0].arguments)
    other = planned(tmp_path, small_store, **OPTIONS | {"epochs": 1000, "configuration": "3d_fullres"})
    faults = rehearse(other.jobs)
    assert list(faults) == ["clean/nnunet/fold0"]
    assert f"{tested} was begun with another config" in faults["clean/nnunet/fold0"]
    assert "nnunet.configuration: '2d', now '3d_fullres'; nnunet.epochs: 31, now 1000" in faults["clean/nnunet/fold0"]
    (tested / "config.yaml").unlink()  # nothing says what the results are of
    with pytest.raises(NasosegError, match="was begun with another config"):
        rehearse_nnunet(begun.jobs[0].arguments)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epoch": "x"}, "argument --epochs: invalid int value: 'x': see `nasoseg nnunet --help`"),
        ({"epochs": 0}, "--epochs: found 0, expected 1 or more"),
        ({"widht": 4}, "unrecognized arguments: --widht 4"),
        ({"create_environment": "maybe"}, "unrecognized arguments: maybe"),
        ({"batch_size": False}, "argument --batch-size: invalid int value: 'false'"),
        ({"groups": "Larinx"}, "--groups has no structure 'Larinx'"),
    ],
)
def test_wrong_options_are_told_in_the_dry_run(small_store, tmp_path, options, words):
    job = planned(tmp_path, small_store, **options).jobs[0]
    with pytest.raises(NasosegError) as raised:
        rehearse_nnunet(job.arguments)
    assert words in str(raised.value)


def test_false_and_null_are_the_defaults(small_store, tmp_path):
    options = {"create_environment": False, "force": False, "batch_size": None, "mirroring": False}
    job = planned(tmp_path, small_store, **options).jobs[0]
    assert job.arguments[-2:] == ("--mirroring", "false")
    assert not {"--create-environment", "--force", "--batch-size"} & set(job.arguments)
    rehearse_nnunet(job.arguments)


def test_only_what_can_run_looks_for_an_environment(small_store, tmp_path, capsys):
    """The option is wrong, and there is no nnU-Net: the first is told, before 5 GB are fetched for the second."""
    begun = planned(tmp_path, small_store, epochs=0, nnunet_python="nowhere")
    assert main(["benchmark", str(begun.path), "--dry-run"]) == 1
    assert "--epochs: found 0" in capsys.readouterr().out
