"""Runs behind symbolic links are found, each once, and links in a circle end."""

import shutil

from benchmark_rows import write_run

from nasoseg.evaluation import read_results
from nasoseg.evaluation.linked_folders import folders_below
from nasoseg.report.page.runs import read_runs


def test_a_link_leads_to_a_folder_once_and_out_of_circles(tmp_path):
    (tmp_path / "runs" / "b" / "c").mkdir(parents=True)
    (tmp_path / "disk" / "d").mkdir(parents=True)
    (tmp_path / "runs" / "a").symlink_to(tmp_path / "runs" / "b")  # has a name of its own
    (tmp_path / "runs" / "e").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "up").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "nowhere").symlink_to(tmp_path / "gone")
    found = [path.relative_to(tmp_path / "runs").as_posix() for path in folders_below(tmp_path / "runs")]
    assert found == [".", "b", "b/c", "e", "e/d"]


def test_runs_behind_links_are_read_as_if_they_lay_there(tmp_path):
    patients = {"p": ["Larynx"], "q": ["Larynx"]}
    for fold in range(2):
        write_run(
            tmp_path / "plain" / f"fold{fold}",
            "unet",
            {k + str(fold): v for k, v in patients.items()},
            level=0.7,
            fold=fold,
        )
    begun = tmp_path / "plain" / "fold2"
    begun.mkdir()
    for name in ("config.yaml", "split.json"):
        (begun / name).write_text("{}")
    shutil.copytree(tmp_path / "plain", tmp_path / "disk")
    (tmp_path / "linked").mkdir()
    for fold in range(3):
        (tmp_path / "linked" / f"fold{fold}").symlink_to(tmp_path / "disk" / f"fold{fold}")
    assert read_results([tmp_path / "linked"]).equals(read_results([tmp_path / "plain"]))
    linked = read_runs([tmp_path / "linked"])
    assert [run.folder.name for run in linked.tested] == ["fold0", "fold1"]
    assert list(linked.untested) == ["fold2"]
