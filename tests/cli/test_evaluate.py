"""`nasoseg evaluate` end to end: table, file, notes and exit codes."""

from pathlib import Path

import numpy as np
import pytest
from generated_studies import BOXES, mask, save, write_patients

from nasoseg.cli import main
from nasoseg.evaluation import compare, read_results


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Six patients; predictions that are the truth, but for a larynx without its first column."""
    truth = write_patients(tmp_path / "truth", patients=6)
    for number in range(6):
        for structure in BOXES:
            array = mask(structure)
            if structure == "Larynx":
                array[10] = 0
            save(tmp_path / "ours" / f"case {number}" / f"{structure}.nii.gz", array)
    return tmp_path / "ours", truth


def test_prints_the_table_and_writes_the_rows(roots, tmp_path, nasoseg_command):
    ended = nasoseg_command("evaluate", *roots, "--out", tmp_path / "ours.csv")
    assert ended.code == 0, ended.err
    lines = [line.split() for line in ended.out.splitlines()]
    larynx = next(line for line in lines if "Larynx" in line)
    # One of five columns of 1.5 mm is missing: HD95 1.5 mm, and all surfaces are within the larynx' 2 mm.
    measured = ["0.889", "0.800", "0.889", "1.5", "1.000", "5"]
    assert [cell for cell in larynx if cell[0].isdigit()] == measured
    assert "evaluating: 6/6 (case 5)" in ended.err
    table = read_results([tmp_path / "ours.csv"])
    assert set(table["method"]) == {"ours"}
    assert {tuple(row) for row in table[["protocol", "fold", "store", "split"]].to_numpy()} == {("-",) * 4}
    assert set(table["metric"]) == {"dsc", "jsc", "precision", "recall", "f1", "hd95", "hd", "assd", "nsd"}
    volume = table[(table["averaging"] == "volume") & (table["metric"] == "dsc")]
    found = volume.set_index(["patient", "structure"])["value"]
    assert len(found) == 6 * 4 - 1  # case 0 has no larynx
    assert found["case 1", "Larynx"] == pytest.approx(2 * 4 / 9, abs=1e-6)


def test_two_programs_can_be_compared(roots, tmp_path, nasoseg_command):
    ours, truth = roots
    assert nasoseg_command("evaluate", ours, truth, "--out", tmp_path / "a.csv", "--method", "a").code == 0
    for path in ours.glob("*/Larynx.nii.gz"):
        save(path, mask("Larynx"))
    assert nasoseg_command("evaluate", ours, truth, "--out", tmp_path / "b.csv", "--method", "b").code == 0
    found = compare(read_results([tmp_path / "a.csv", tmp_path / "b.csv"]), resamples=50)
    larynx = found[found["structure"] == "Larynx"].iloc[0]
    assert (larynx["n"], larynx["method"]) == (5, "b")
    assert larynx["mean_difference"] == pytest.approx(1 / 9, abs=1e-6)
    assert larynx["p"] == 2 / 32


def test_what_is_missing_is_an_error_or_a_note(roots, nasoseg_command):
    ours, truth = roots
    (ours / "case 3" / "Larynx.nii.gz").unlink()
    (ours / "case 4").rename(ours / "somebody")
    ended = nasoseg_command("evaluate", ours, truth)
    assert ended.code == 1
    assert "nasoseg evaluate: error:" in ended.err
    assert "no prediction for 1 of 6 patients: case 4" in ended.err
    ended = nasoseg_command("evaluate", ours, truth, "--allow-missing")
    assert ended.code == 1
    assert "case 3/Larynx" in ended.err
    ended = nasoseg_command("evaluate", ours, truth, "--allow-missing", "--missing-as-empty")
    assert ended.code == 0, ended.err
    notes = [line for line in ended.out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 3
    assert "note: 1 predicted patients without truth, not measured: somebody" in notes


def test_absent_is_a_list(roots, nasoseg_command):
    ours, truth = roots
    ended = nasoseg_command("evaluate", ours, truth, "--absent", "Brainstem, Larynx")
    assert ended.code == 0, ended.err
    larynx = next(line for line in ended.out.splitlines() if "Larynx" in line)
    assert larynx.split()[-2] == "6"  # case 0 counts: none there, and predicted


def test_out_is_checked_before_the_work(roots, tmp_path, nasoseg_command):
    out = tmp_path / "ours.csv"
    out.write_text("mine")
    ended = nasoseg_command("evaluate", *roots, "--out", out)
    assert (ended.code, out.read_text()) == (1, "mine")
    assert "exists already" in ended.err
    assert "--force" in ended.err
    assert "evaluating" not in ended.err
    assert nasoseg_command("evaluate", *roots, "--out", out, "--force").code == 0
    assert out.read_text().startswith("method,protocol,fold")
    assert "there is no folder" in nasoseg_command("evaluate", *roots, "--out", tmp_path / "no" / "a.csv").err
    assert "is a folder" in nasoseg_command("evaluate", *roots, "--out", tmp_path).err


def test_nothing_is_left_by_a_failure(roots, tmp_path, nasoseg_command):
    save(roots[0] / "case 5" / "Larynx.nii.gz", np.full((4, 4, 4), 1, np.uint8))
    ended = nasoseg_command("evaluate", *roots, "--out", tmp_path / "ours.csv")
    assert ended.code == 1
    assert "lies on another grid" in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "truth"]


def test_help_has_the_layouts_and_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "<patient>/segmentations/<structure>.nii.gz" in printed
    assert "nasoseg evaluate" in printed.split("example")[1]
