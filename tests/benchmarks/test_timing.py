"""Turns, picks and ratios; peak memory; what a result says."""

import json
import math

import numpy as np
import pytest
import torch


@pytest.fixture
def timing():
    import timing

    return timing


def test_the_ways_take_turns_and_each_round_begins_with_another(timing):
    seen = []
    ways = {name: lambda name=name: seen.append(name) for name in "abc"}
    turns = timing.take_turns(ways, rounds=3, synchronise=lambda: seen.append("|"))
    assert "".join(seen).replace("|", "") == "abc" + "abc" + "bca" + "cab"
    assert seen.count("|") == 2 * 9  # before and after every turn that is timed
    assert list(turns) == list("abc")
    assert all(len(each.cpu_s) == len(each.wall_s) == 3 for each in turns.values())


def test_both_clocks_see_work_and_only_the_wall_sees_waiting(timing):
    import time

    def work() -> None:
        start = time.process_time()
        while time.process_time() - start < 0.02:
            pass

    turns = timing.take_turns({"work": work, "wait": lambda: time.sleep(0.05)}, rounds=1, warm=False)
    assert turns["work"].seconds("cpu") >= 0.02
    assert turns["wait"].seconds("cpu") < 0.02
    assert turns["wait"].seconds("wall") >= 0.05


def test_ratio_of_picks_with_the_quartiles_of_the_rounds(timing):
    this = timing.Turns(cpu_s=[1.0, 2.0, 4.0], wall_s=[1, 1, 1])
    other = timing.Turns(cpu_s=[3.0, 4.0, 4.0], wall_s=[1, 1, 1])
    ratio = timing.faster(this, other, clock="cpu")
    assert ratio == timing.Ratio(4.0 / 2.0, 1.5, 2.5)  # the rounds' own: 3, 2, 1
    assert timing.faster(this, other, clock="cpu", pick="shortest").value == 3.0
    assert str(ratio) == "2.00 (1.50-2.50)"


def test_no_rounds_are_refused(timing):
    with pytest.raises(ValueError, match="rounds: found 0"):
        timing.take_turns({}, rounds=0)


def test_peak_memory_is_that_of_the_work_alone():
    from memory import peak_mib

    held = np.ones(32 * 2**20, np.uint8)
    peak = peak_mib(lambda: np.ones(64 * 2**20, np.uint8).sum())
    if math.isnan(peak):
        pytest.skip("this system does not say how much is resident")
    assert 60 < peak < 90
    assert held.all()


def test_a_result_names_machine_versions_and_what_is_left_out(tmp_path, capsys):
    from options import peer
    from results import Results

    results = Results("some", "Something", settings={"rounds": 3, "only": None})
    assert peer("no_such_peer", results, what="a peer", package="no-such-peer") is None
    results.add_table("Ways", [{"way": "ours", "ms": 1.23456}, {"way": "theirs", "ms": 345.6, "note": "x"}])
    results.add_headline("something", "1 ms", "theirs 2", "2.00", aim="1.0")
    results.write(tmp_path)
    record = json.loads((tmp_path / "some.json").read_text())
    assert record["tables"][0]["rows"][0]["ms"] == 1.23456
    assert (
        record["machine"]["versions"]["torch"] == torch.__version__.partition("+")[0] or record["machine"]["versions"]
    )
    assert record["headlines"] == [
        {"what": "something", "nasoseg": "1 ms", "best peer": "theirs 2", "ratio": "2.00", "aim": "1.0"}
    ]
    text = (tmp_path / "some.md").read_text()
    assert "| ours | 1.23 |  |" in text
    assert "| theirs | 346 | x |" in text
    assert "Left out: a peer: no-such-peer is not installed" in text
    assert "left out: a peer" in capsys.readouterr().out


def test_the_roofline_is_the_larger_of_computing_and_moving():
    from roofline import Roof, Work, count_work

    roof = Roof(flops_s=100, bytes_s=10)
    assert roof.seconds(Work(flops=200, convolution_bytes=10)) == 2
    assert roof.seconds(Work(flops=200, convolution_bytes=50)) == 5
    image, weights = torch.zeros(1, 2, 4, 4), torch.zeros(3, 2, 1, 1)
    work = count_work(lambda: torch.nn.functional.conv2d(image, weights).relu())
    assert work.flops == 2 * 3 * 2 * 16
    assert work.convolution_bytes == 4 * (image.numel() + weights.numel() + 3 * 16)
