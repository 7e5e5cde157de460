"""Every benchmark runs to its end at its smallest, ours alone; with the peers nightly."""

import importlib
import json

import pytest

SMALLEST = {
    "step": "--sizes 32 --pixels 2048 --width 2 --matrix 64 --modes eager --rounds 1 --only nasoseg",
    "loading": "--patients 2 --slices 8 --side 32 --count 16 --rounds 1 --only nasoseg memmap lz4",
    "epoch": "--patients 5 --slices 4 --side 32 --width 2 --batch 2 --batches 2 --rounds 1 --only TwoStage",
    "validation": "--slices 5 --side 32 --width 2 --rounds 1 --only nasoseg surface-distance AUROC",
    "inference": "--slices 3 --side 32 --width 2 --rounds 1 --only eager",
    "growth": "--slices 8 16 --depths 2 4 --structures 1 2 --side 32 --rounds 1",
    "loss": "--shapes 2,3,8,8 --rounds 1 --only nasoseg tensors",
    "resident": "--slices 20 --steps 1 --batch 2 --workers 1 --depth 4 --structures 3 --side 32 --width 2",
}
FIRST_COLUMN = {
    "step": "mode", "loading": "way", "epoch": "network", "validation": "epoch", "inference": "way", "growth": "slices",
    "resident": "slices", "loss": "shape",
}  # fmt: skip


def run(script, arguments, folder):
    importlib.import_module(script).main([*arguments.split(), "--out", str(folder)])
    record = json.loads((folder / f"{script}.json").read_text())
    assert record["machine"]["line"] in (folder / f"{script}.md").read_text()
    assert FIRST_COLUMN[script] in record["tables"][0]["rows"][0]
    return record


@pytest.mark.parametrize(
    "script",
    [pytest.param(script, marks=pytest.mark.slow) if script in ("step", "epoch", "growth", "resident") else script
     for script in SMALLEST],
)  # fmt: skip
def test_ours(script, tmp_path):
    record = run(script, SMALLEST[script], tmp_path)
    assert record["left_out"] == []
    for table in record["tables"]:
        for row in table["rows"]:
            for value in row.values():
                assert not isinstance(value, float) or value == value or "MiB" in str(row)
    apart = {row["by"]: float(row["largest difference"]) for table in record["tables"] for row in table["rows"]
             if row.get("largest difference")}  # fmt: skip
    assert apart.get("torchmetrics, AUROC", 0) < 1e-4
    assert apart.get("surface-distance, HD95 and NSD", 0) < 1e-6


@pytest.mark.nightly
@pytest.mark.parametrize("script", ["step", "loss", "loading", "validation", "inference"])
@pytest.mark.filterwarnings("ignore")  # the peers' own
def test_with_peers(script, tmp_path):
    arguments = SMALLEST[script].partition("--only")[0]
    record = run(script, arguments, tmp_path)
    assert all("is not installed" in line for line in record["left_out"])


def test_the_summary_gathers_all_headlines(tmp_path, monkeypatch, capsys):
    from results import Results

    for number in range(2):
        results = Results(f"part{number}", f"Part {number}", settings={})
        results.add_headline(f"what {number}", "1 s", "peer 2", "2.00")
        results.leave_out("a peer", "it is not installed")
        results.write(tmp_path)
    monkeypatch.setattr("sys.argv", ["summary.py", str(tmp_path)])
    importlib.import_module("summary").main()
    text = (tmp_path / "summary.md").read_text()
    assert text in capsys.readouterr().out
    assert "| what 0 | 1 s | peer 2 | 2.00 |" in text
    assert "| what 1 | 1 s | peer 2 | 2.00 |" in text
    assert text.count("left out: a peer: it is not installed") == 2


def test_a_summary_of_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["summary.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="found no result"):
        importlib.import_module("summary").main()
