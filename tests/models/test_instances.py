"""Masks to instances and back: boxes by hand, the empty slice, and an independent resampling."""

import torch
import torch.nn.functional as F

from nasoseg.models.instances import instances, paste, score_map


def drawn(*rows: str) -> torch.Tensor:
    return torch.tensor([[pixel == "#" for pixel in row] for row in rows])


def test_one_instance_a_structure_and_component():
    one = drawn(
        "##....",
        "..#...",  # touches at a corner: the same component
        "......",
        ".....#",
    )
    two = drawn("......", ".####.", ".####.", "......")  # lies over the first
    found = instances(torch.stack([one, torch.zeros_like(one), two]), most=9)
    assert found["labels"].tolist() == [3, 1, 1]  # by size
    assert found["boxes"].tolist() == [[1, 1, 5, 3], [0, 0, 3, 2], [5, 3, 6, 4]]
    assert torch.equal(found["masks"][0].bool(), two)
    assert torch.equal(found["masks"][1:].amax(0).bool(), one)
    assert (found["boxes"].dtype, found["labels"].dtype) == (torch.float32, torch.int64)


def test_only_the_largest_are_kept():
    found = instances(drawn("#..##..###", "...##.....")[None], most=2)
    assert found["boxes"].tolist() == [[3, 0, 5, 2], [7, 0, 10, 1]]
    assert len(found["masks"]) == len(found["labels"]) == 2


def test_a_slice_without_a_structure_has_no_instance():
    found = instances(torch.zeros(4, 5, 6, dtype=torch.bool), most=9)
    assert found["boxes"].shape == (0, 4)
    assert found["labels"].shape == (0,)
    assert found["masks"].shape == (0, 5, 6)


def test_pasting_is_bilinear_resampling():
    """The same samples by torch's grid_sample, for boxes with broken borders, over the edge, and below a pixel."""
    torch.manual_seed(0)
    boxes = torch.tensor(
        [[3.2, 4.7, 17.9, 12.1], [-4.0, -3.0, 6.5, 40.0], [9.1, 9.2, 9.6, 9.9], [0.0, 0.0, 24.0, 20.0]]
    )
    masks = torch.rand(4, 28, 28)
    y, x = torch.meshgrid(torch.arange(20) + 0.5, torch.arange(24) + 0.5, indexing="ij")
    low, high = boxes[:, None, None, :2], boxes[:, None, None, 2:]
    grid = 2 * (torch.stack([x, y], dim=-1)[None] - low) / (high - low) - 1
    expected = F.grid_sample(masks[:, None], grid, align_corners=False, padding_mode="zeros")[:, 0]
    torch.testing.assert_close(paste(masks, boxes, (20, 24)), expected, atol=1e-5, rtol=1e-4)


def test_detections_merge_to_the_best_score_of_each_structure():
    found = {
        "boxes": torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [0, 0, 2, 2]]),
        "scores": torch.tensor([0.5, 0.8, 0.9]),
        "labels": torch.tensor([3, 3, 1]),
        "masks": torch.ones(3, 1, 28, 28),
    }
    merged = score_map(found, structures=3, size=(5, 8))
    expected = torch.zeros(3, 5, 8)
    expected[2, :4, :2], expected[2, :4, 2:6], expected[0, :2, :2] = 0.5, 0.8, 0.9
    torch.testing.assert_close(merged, expected)


def test_nothing_detected_scores_nothing():
    found = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
    assert torch.equal(
        score_map(found | {"masks": torch.zeros(0, 1, 28, 28)}, structures=2, size=(5, 8)), torch.zeros(2, 5, 8)
    )
