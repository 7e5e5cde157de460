"""How much of the error is where contours end: against numbers worked by hand, and against the run's own test."""

import importlib
import shutil

import numpy as np
import pandas as pd
import pytest

from nasoseg.cli import main


@pytest.fixture
def ends():
    return importlib.import_module("ends")


def test_a_structure_that_is_predicted_two_slices_too_tall(ends):
    drawn, found, hit = np.array([[0, 4, 4, 0, 0], [0, 3, 5, 6, 2], [0, 3, 4, 0, 0]])
    measured = ends.measured(hit, found, drawn, slice_mm=2.5)
    assert measured == pytest.approx(
        {"DSC": 14 / 24, "ends known": 14 / 16, "false": 9, "outside": 8, "height": 5, "area": 1}
    )


def test_the_mean_is_over_organs(ends):
    rows = [("Larynx", 0.5), ("Larynx", 0.7), ("Mandible", 0.8), ("PTV70", 0.1)]
    others = {"ends known": 1.0, "false": 4, "outside": 1, "height": 10.0, "area": 1.0}
    table = ends.table(pd.DataFrame([{"structure": name, "DSC": dsc} | others for name, dsc in rows]))
    assert table.loc["organs", "DSC"] == pytest.approx((0.6 + 0.8) / 2)
    assert table.loc["Larynx", "patients"] == "2"
    assert table.loc["Larynx", "beyond"] == pytest.approx(0.25)


@pytest.fixture(scope="module")
def trained(small_store, tmp_path_factory):
    arguments = ["--data.store", small_store.path, "--data.folds", 4, "--data.fold", 1, "--data.batch_size", 8]
    arguments += ["--model.init_args.width", 4, "--trainer.max_epochs", 2, "--trainer.accelerator", "cpu"]
    folder = tmp_path_factory.mktemp("ends") / "run"
    assert main(["fit", *map(str, arguments), "--run", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_dsc_is_that_of_the_run(ends, run, capsys):
    capsys.readouterr()
    ends.main([str(run), "--part", "test"])
    printed = capsys.readouterr().out
    assert "organs" in printed
    rows = pd.read_csv(run / "metrics.csv").query("averaging == 'volume' and metric == 'dsc'")
    for structure, value in rows.groupby("structure")["value"].mean().items():
        (line,) = [line.split() for line in printed.splitlines() if line.startswith(f"{structure} ")]
        assert float(line[2]) == pytest.approx(value, abs=6e-4)


def test_slices_are_no_patients(ends, run, small_store, capsys):
    (run / "split.json").unlink()
    assert main(["split", str(small_store.path), str(run / "split.json"), "--folds", "4", "--protocol", "paper"]) == 0
    with pytest.raises(SystemExit, match="1"):
        ends.main([str(run)])
    assert "deals slices (protocol paper): expected whole patients" in capsys.readouterr().err


def test_a_folder_that_is_no_run(ends, tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        ends.main([str(tmp_path)])
    assert "no run folder" in capsys.readouterr().err
