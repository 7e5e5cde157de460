"""The command: what it refuses, and, where nnunetv2 is installed, nnU-Net itself from the store to metrics.csv."""

import csv
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from nasoseg.cli import main
from nasoseg.comparison.nnunet import Asked, run_nnunet
from nasoseg.comparison.nnunet_dataset import case_names, find_combinations
from nasoseg.comparison.nnunet_environment import FOLDER, VARIABLE, Environment
from nasoseg.comparison.nnunet_groups import Group, make_groups
from nasoseg.comparison.nnunet_options import Options
from nasoseg.comparison.nnunet_scores import Predicted, score_predictions
from nasoseg.data.embedded import embedded_store
from nasoseg.data.splits import make_split
from nasoseg.data.store import Patient, Store, write_store
from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP
from nasoseg.volumes.volume import Geometry

TIMEOUT_SECONDS = 1800  # nnU-Net takes a minute on a quiet machine
RIGHT_PAROTID = 2  # its bit


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--protocol", "paper"], "nnU-Net's cases are whole volumes"),
        (["--fold", "9"], "fold: found 9, expected 0 to 3"),
        (["--labels", "Larinx"], "did you mean 'Larynx'"),
        (["--groups", "Larinx"], "--groups has no structure 'Larinx'"),
        (["--epochs", "0"], "--epochs: found 0, expected 1 or more"),
        (["--batch-size", "1"], "--batch-size: found 1, expected 2 or more"),
        (["--nnunet-python", "nowhere"], "--create-environment"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_written(small_store, tmp_path, capsys, arguments, words):
    code = main(["nnunet", str(small_store.path), "--folds", "4", "--run", str(tmp_path / "run"), *arguments])
    printed = capsys.readouterr().err
    assert code == 1
    assert words in printed
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_not_touched(small_store, tmp_path):
    """What `nasoseg fit` left, say: told before nnU-Net is started."""
    (tmp_path / "config.yaml").write_text("method: unet\ndata: {fold: 0}\n")
    split = make_split(small_store, folds=4)
    environment = Environment(tmp_path / "python", tmp_path, "2.8.1", False)
    asked = Asked(fold=0, labels=small_store.names)
    with pytest.raises(NasosegError, match=r"holds a run with method: 'unet', found 'nnunet' now.*--force"):
        run_nnunet(small_store, split, asked, run=tmp_path, find=lambda: environment)
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "nnunet.lock"}
    (tmp_path / "file").write_text("")
    with pytest.raises(NasosegError, match=r"--run: .*file/run.* choose another folder"):
        run_nnunet(small_store, split, asked, run=tmp_path / "file" / "run", find=lambda: environment)


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["nnunet", "--help"])
    assert ended.value.code == 0
    assert "nasoseg nnunet openkbp.h5" in capsys.readouterr().out.split("example")[1]


def test_mirroring_is_off_where_a_structure_has_a_side():
    sided, middle = (Group(1, names, (), (), ()) for names in (("Larynx", "Parotid_L"), ("Larynx", "Mandible")))
    assert not Options().mirrors(sided)
    assert Options().mirrors(middle)
    assert Options(mirroring="true").mirrors(sided)
    assert not Options(mirroring="false").mirrors(middle)


@pytest.fixture(scope="module")
def python(request) -> str:
    """The interpreter of an environment with nnunetv2."""
    found = os.environ.get(VARIABLE) or request.config.rootpath / FOLDER / "bin" / "python"
    if not Path(found).is_file():
        pytest.skip(f"no nnunetv2: ${VARIABLE} names no interpreter, and there is none in {FOLDER}")
    return str(found)


def coronal_patient(patient: Patient) -> Patient:
    """Cut 24 slices and 64 x 64 pixels about the right parotid, with a margin of 0 HU.

    Pixels are wider than slices are thick, so that nnU-Net turns the axes, and it crops the margin away: both have to
    be undone. One spacing for all, so that it resamples nothing and the way there and back is exact.
    """
    parotid = patient.labels >> RIGHT_PAROTID & 1
    middle = [int(np.median(axis)) for axis in np.nonzero(parotid)]
    start = [max(0, middle[0] - 12), 40, 32]
    cut = tuple(slice(first, first + length) for first, length in zip(start, (24, 64, 64), strict=True))
    image, labels = (np.ascontiguousarray(array[cut]) for array in (patient.image, patient.labels))
    for axis, margin in enumerate((1, 3, 5)):
        for array in (image, labels):
            np.moveaxis(array, axis, 0)[:margin] = 0
    affine = np.diag([2.5, 4.0, 4.0, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = [-100.0, -80.0, 30.0]
    return Patient(patient.key, image, labels, patient.annotated, affine, Geometry(image.shape, affine))


@pytest.fixture(scope="module")
def coronal_store(tmp_path_factory) -> Store:
    """Six patients of the carried sample."""
    path = tmp_path_factory.mktemp("coronal") / "coronal.h5"
    with Store(embedded_store()) as sample:
        write_store(path, (coronal_patient(sample.patient(key)) for key in sample.keys[:6]), OPENKBP)
    return Store(path)


ARGUMENTS = ["--folds", "3", "--labels", "RightParotid,LeftParotid,PTV70", "--epochs", "1", "--device", "cpu"]
ARGUMENTS += ["--iterations-per-epoch", "2", "--batch-size", "2", "--processes", "1", "--method", "nnU-Net 2d"]


@pytest.fixture(scope="module")
def trained(python, coronal_store, tmp_path_factory):
    """A run folder of the command, with nnU-Net trained for two iterations."""
    run = tmp_path_factory.mktemp("nnunet") / "run"
    arguments = ["nnunet", str(coronal_store.path), *ARGUMENTS, "--run", str(run), "--nnunet-python", python]
    assert main(arguments) == 0
    return run, arguments


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_a_run_leaves_what_every_method_leaves(trained, coronal_store):
    run, _ = trained
    split = make_split(coronal_store, folds=3)
    tested = set(split.part(0, "test"))
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"nnU-Net 2d"}
    assert {(row["protocol"], row["fold"]) for row in rows} == {("clean", "0")}
    assert {row["split"] for row in rows} == {split.sha256[:12]}
    assert {row["store"] for row in rows} == {coronal_store.content_sha256[:12]}
    volumes = {(row["patient"], row["structure"]) for row in rows if row["averaging"] == "volume"}
    assert volumes == {(key, name) for key in tested for name in ("RightParotid", "LeftParotid", "PTV70")}
    assert {row["metric"] for row in rows} >= {"dsc", "soft_dsc", "auc"}
    for key in tested:
        names = sorted(path.name for path in (run / "predictions" / key).iterdir())
        assert names == ["LeftParotid.nii.gz", "PTV70.nii.gz", "RightParotid.nii.gz"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["nnunet"]["epochs"] == 1
    assert list(json.loads((run / "stages.json").read_text())) == ["group1/plan", "group1/train", "group1/predict"]


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_nnunet_did_what_was_asked(trained):
    run, _ = trained
    log = (run / "logs" / "group1_train.log").read_text()
    assert "Using trainer 'NasosegTrainerNoMirroring'" in log
    assert "This split has 3 training and 1 validation cases" in log
    assert log.count("Epoch time") == 1
    (plans,) = run.glob("preprocessed/*/nnUNetPlans.json")
    plans = json.loads(plans.read_text())
    assert plans["configurations"]["2d"]["batch_size"] == 2
    assert plans["transpose_forward"] == [1, 0, 2]  # nnU-Net's own choice: coronal slices


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_called_again_it_does_nothing_twice(trained, capsys):
    run, arguments = trained
    stages, metrics = (run / "stages.json").read_text(), (run / "metrics.csv").read_text()
    assert main(arguments) == 0
    assert (run / "stages.json").read_text() == stages
    assert (run / "metrics.csv").read_text() == metrics
    assert main([*arguments, "--epochs", "2"]) == 1
    assert "nnunet.epochs: 1, found 2 now" in capsys.readouterr().err


ORACLE = """
import json, sys
from pathlib import Path
import numpy as np
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

raw, plans, out = map(Path, sys.argv[1:4])
described = json.loads((raw / "dataset.json").read_text())
manager = PlansManager(str(plans))
configuration, labels = manager.get_configuration("2d"), manager.get_label_manager(described)
for case in sys.argv[4:]:
    image, label = str(raw / "imagesTr" / f"{case}_0000.nii.gz"), str(raw / "labelsTr" / f"{case}.nii.gz")
    np.save(out / f"{case}.npy", SimpleITKIO().read_seg(label)[0][0].astype(np.int64))
    preprocessor = DefaultPreprocessor(verbose=False)
    data, seg, properties = preprocessor.run_case([image], label, manager, configuration, described)
    assert properties["shape_before_cropping"] != data.shape[1:], "nothing was cropped"
    logits = np.stack([np.where(np.isin(seg[0], region), 20.0, -20.0) for region in labels.foreground_regions])
    export_prediction_from_logits(
        logits.astype(np.float32), properties, configuration, manager, described, str(out / case), True, 1
    )
"""


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_the_truth_comes_back_through_nnunets_own_preprocessing_and_export(trained, python, coronal_store, tmp_path):
    """nnU-Net reads a labelled case, turns its axes and crops it; its export undoes that; we score 1."""
    run, _ = trained
    split = make_split(coronal_store, folds=3)
    names = ["RightParotid", "LeftParotid", "PTV70"]
    (group,) = make_groups(coronal_store, split, fold=0, labels=names).groups
    combinations = find_combinations(coronal_store, group)
    cases = {key: case_names(coronal_store)[key] for key in group.train}
    raw, plans = run / "raw" / group.dataset, run / "preprocessed" / group.dataset / "nnUNetPlans.json"
    (tmp_path / "oracle.py").write_text(ORACLE)
    command = [python, str(tmp_path / "oracle.py"), str(raw), str(plans), str(tmp_path), *cases.values()]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    for key, case in cases.items():
        codes = np.load(tmp_path / f"{case}.npy")
        for i, name in enumerate(names):
            planes = coronal_store.read(key, "labels", slice(None)) >> coronal_store.names.index(name)
            np.testing.assert_array_equal((combinations.planes[codes] >> np.uint64(i)) & 1, planes & 1)
    of = Predicted(group, combinations, tmp_path)
    scores = score_predictions(coronal_store, list(cases), [of], labels=names, masks_to=tmp_path / "masks")
    present = np.array([coronal_store.voxels[key].any(axis=0) for key in cases])
    present = present[:, [coronal_store.names.index(name) for name in names]]
    assert present.any(axis=0).all()
    np.testing.assert_array_equal(scores.volume["dsc"].numpy()[present], 1.0)
