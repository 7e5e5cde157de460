"""What a benchmark finds out about nnU-Net's jobs before it begins: wrong options, and runs of other options."""

from types import SimpleNamespace

import pytest
import yaml
from generated_benchmark import write_benchmark

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
