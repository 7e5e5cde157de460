"""The card of run folders of every kind: whole, of an older nasoseg, untested, damaged, with evil names."""

import copy
import json

import pandas as pd
import pytest
import yaml
from page_runs import EVIL_METHOD, EVIL_STRUCTURE, ORGANS, write_metrics, write_whole_run

from nasoseg.data.training_data import Range, TrainingData
from nasoseg.errors import NasosegError
from nasoseg.evaluation import read_results, summarise
from nasoseg.report.model_card import not_deterministic, write_model_card
from nasoseg.tasks.run_record import record_start

FACTS = {
    "method": EVIL_METHOD,
    "network": "UNet",
    "parameters": 1_940_000,
    "protocol": "clean",
    "fold": 0,
    "labels": [*ORGANS, EVIL_STRUCTURE],
    "store": {"sha256": "5" * 64, "patients": 12},
    "split": {"sha256": "7" * 64, "folds": 4, "seed": 0},
    "patients": {"train": 8, "validation": 1, "test": 3},
    "git": {"nasoseg": {"commit": "c" * 40, "dirty": True}, "project": None},
    "versions": {"python": "3.11.9", "nasoseg": "0.1.0", "torch": "2.12.0"},
    "gpu": None,
    "annotated": {
        "train": {**dict.fromkeys(ORGANS, 80), EVIL_STRUCTURE: 2},
        "validation": dict.fromkeys([*ORGANS, EVIL_STRUCTURE], 1),
        "test": dict.fromkeys([*ORGANS, EVIL_STRUCTURE], 3),
    },
    "computing": {
        "device": "cpu",
        "processes": 1,
        "threads": 2,
        "precision": "32-true",
        "seed": 0,
        "deterministic": False,
        "cudnn_benchmark": False,
    },
}


@pytest.fixture
def run(small_store, tmp_path):
    folder = tmp_path / "private" / "run"
    write_whole_run(folder, small_store, "ours", level=0.8, structures=ORGANS, shift=None)
    training = TrainingData(((-160.0, 240.0),), 1, 8, Range(0.9, 1.0, 1.2), Range(3.0, 3.0, 3.0), Range(300, 400, 500))
    training.write(folder / "training_data.json")
    return folder


def test_it_says_what_the_model_is_made_of_and_what_it_reached(run, small_store):
    record_start(run, FACTS, resuming=False)
    text = write_model_card(run).read_text(encoding="utf-8")
    for words in (
        "# &lt;img src=x",
        "UNet of 1.94 M parameters",
        "**Not a medical device.**",
        "windowed to -160 to 240 HU",
        "1 neighbouring slices",
        "pixels of 0.9 to 1.2 mm, slice distances of 3 mm",
        "fewer than 10 training patients: O'Hara",
        "5" * 64,
        "7" * 64,
        "8 train, 1 validation, 3 test",
        "fold 0 of 4",
        "**clean.** Whole patients",
        "| Brainstem | 80 | 1 | 3 |",
        "python 3.11.9, nasoseg 0.1.0, torch 2.12.0; CPU, processes: 1, precision 32-true, seed 0",
        f"commit {'c' * 40}, with changes that are not in it",
        "number of threads (2 here)",
        "class_path: nasoseg.UNet",
        "nasoseg.UNet.from_pretrained",
    ):
        assert words in text
    found = summarise(read_results([run / "metrics.csv"]), metric="dsc").set_index("structure")
    for name in (*ORGANS, "all"):
        low, mean, high = (found.loc[name, column] for column in ("low", "mean", "high"))
        assert f"| {name} | {mean:.3f} [{low:.3f}, {high:.3f}] |" in text
    for secret in (*small_store.keys, "private", str(small_store.path), "<script", "<img"):
        assert secret not in text


def test_an_untested_run_of_an_older_nasoseg(run):
    for name in ("metrics.csv", "training_data.json"):
        (run / name).unlink()
    text = write_model_card(run).read_text(encoding="utf-8")
    assert "None: the model was not tested." in text
    assert text.count("Not recorded: an older nasoseg made the run.") == 2
    assert "How its images were made is not recorded" in text


def test_the_papers_protocol_is_called_optimistic_and_few_patients_have_no_interval(run):
    context = ("ours", "paper", "0", "1" * 12, "2" * 12)
    values = {("a", "Larynx"): 0.5, ("a", "Mandible"): float("nan")}
    write_metrics(run / "metrics.csv", context, values, metrics=["dsc", "hd95"])
    text = write_model_card(run).read_text(encoding="utf-8")
    assert "**paper.** Single slices" in text
    assert "The results are optimistic" in text
    assert "| Larynx | 0.500 | 10.0 | 1 |" in text
    assert "| Mandible | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} |" in text


def test_it_says_where_auc_is_over_fewer_patients_than_the_count(run):
    context = ("ours", "clean", "0", "1" * 12, "2" * 12)
    values = {("a", "Larynx"): 0.5, ("b", "Larynx"): 0.0, ("a", "PTV63"): 0.0}
    path = run / "metrics.csv"
    write_metrics(path, context, values, metrics=["dsc", "auc"])
    words = "AUC is over the patients who have the structure"
    assert words not in write_model_card(run).read_text(encoding="utf-8")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    found_where_absent = (table["metric"] == "auc") & ((table["patient"] == "b") | (table["structure"] == "PTV63"))
    table.loc[found_where_absent, "value"] = "nan"
    table.to_csv(path, index=False)
    text = write_model_card(run).read_text(encoding="utf-8")
    assert words in text
    assert "| PTV63 | 0.000 | \N{EN DASH} | 1 |" in text


def test_every_start_of_a_resumed_run_is_told(run):
    later = copy.deepcopy(FACTS)
    later["versions"]["torch"] = "2.13.0"
    record_start(run, FACTS, resuming=False)
    record_start(run, later, resuming=True)
    text = write_model_card(run).read_text(encoding="utf-8")
    assert "Start 1 of 2: python 3.11.9, nasoseg 0.1.0, torch 2.12.0" in text
    assert "Start 2 of 2: python 3.11.9, nasoseg 0.1.0, torch 2.13.0" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ["number of threads"]),
        ({"seed": None}, ["Nothing was seeded", "number of threads"]),
        ({"device": "cuda"}, ["add in no fixed order"]),
        ({"device": "cuda", "deterministic": True}, []),
        ({"device": "cuda", "cudnn_benchmark": True}, ["add in no fixed order", "cuDNN chose"]),
        ({"processes": 2}, ["2 processes added their gradients", "number of threads"]),
    ],
)
def test_what_would_not_repeat(change, said):
    found = not_deterministic(FACTS["computing"] | change)
    assert len(found) == len(said)
    for sentence, words in zip(found, said, strict=True):
        assert words in sentence


def test_a_damaged_run_folder_is_refused(run):
    (run / "run.json").write_text(json.dumps({"format": "nasoseg-run", "version": 1, "starts": [{"store": 1}]}))
    with pytest.raises(NasosegError, match=r"run\.json: lacks what a model card tells"):
        write_model_card(run)
    for text in ("", "model: 3", "\x00", yaml.safe_dump({"model": {"class_path": 3}, "data": {}})):
        (run / "config.yaml").write_text(text)
        with pytest.raises(NasosegError, match=r"config\.yaml: cannot be read as a run's config"):
            write_model_card(run)
    (run / "config.yaml").unlink()
    with pytest.raises(NasosegError, match=r"config\.yaml"):
        write_model_card(run)
    assert not (run / "model_card.md").exists()


def test_the_recipe_names_no_file_of_the_machine(run):
    config = {
        "seed_everything": 0,
        "model": {"class_path": "nasoseg.FCN8", "init_args": {"pretrained": "/home/somebody/vgg.pth"}},
        "data": {"store": "/home/somebody/clinic.h5", "split": "/home/somebody/split.json", "batch_size": 8},
        "trainer": {"max_epochs": 3, "default_root_dir": "/home/somebody", "logger": None},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    text = write_model_card(run).read_text(encoding="utf-8")
    recipe = yaml.safe_load(text.partition("## Recipe\n\n```yaml\n")[2].partition("```")[0])
    assert recipe == {
        "seed_everything": 0,
        "model": {"class_path": "nasoseg.FCN8", "init_args": {"pretrained": "vgg.pth"}},
        "data": {"batch_size": 8},
        "trainer": {"max_epochs": 3},
    }
    assert "somebody" not in text
