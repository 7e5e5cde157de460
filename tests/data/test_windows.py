import numpy as np

from nasoseg.data.windows import window_channels


def test_window_worked_by_hand():
    image = np.array([[[-1000, 0], [40, 3000]]], np.int16)  # (h 1, w 2, 2 slices)
    channels = window_channels(image, [(-160, 240), (0, 80)])
    assert channels.dtype == np.float32
    # First window: -1000 is below, 40 is its middle; then the second slice; then the second window.
    np.testing.assert_allclose(channels[:, 0], [[-1, 0], [-0.2, 1], [-1, 0], [-1, 1]], atol=1e-6)
