"""The viewer in Chromium, drawn in software: what lies under the cross, sides, keys, names, light, dark, narrow."""

import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from chromium_pages import CONTRAST, faults, find, show, started_chromium

SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


@pytest.fixture(scope="module")
def viewer(server) -> Iterator[Any]:
    """Open the page once: to load it takes longer than all that is done with it."""
    with started_chromium(*SOFTWARE) as started:
        from selenium.webdriver.support.wait import WebDriverWait

        started.set_script_timeout(240)  # the renderer draws meanwhile
        show(started, width=700, height=500)  # few pixels: they are drawn without a graphics device
        started.get(server.url)
        done = "const state = document.querySelector('#state'); return state.hidden || 'fault' in state.dataset"
        WebDriverWait(started, 240).until(lambda browser: browser.execute_script(done))
        assert find(started, "#state").text == ""
        yield started
        assert started.get_log("browser") == []


def go(viewer: Any, x: int, y: int, z: int) -> str:
    """Move the sliders; voxels count to Right, Anterior, Superior."""
    script = (
        "const one = document.querySelector('#slice-' + arguments[0]);"
        "one.value = arguments[1]; one.dispatchEvent(new Event('input'))"
    )
    for axis, at in (("x", x), ("y", y), ("z", z)):
        viewer.execute_script(script, axis, at)
    return find(viewer, "#place").text


def choose(viewer: Any, name: str, value: str) -> None:
    script = "const one = arguments[0]; one.value = arguments[1]; one.dispatchEvent(new Event('change'))"
    viewer.execute_script(script, find(viewer, name), value)


def test_the_cross_tells_hu_place_and_structures_of_its_voxel(viewer, shown):
    _, rows, columns = shown.ct.array.shape
    middle = [np.argwhere(mask.unpack())[mask.voxels // 2] for mask in shown.sets[0].masks.values()]
    for voxel in (*middle, (3, 0, columns - 1)):
        z, y, x = map(int, voxel)
        text = go(viewer, columns - 1 - x, rows - 1 - y, z)
        hu, *lps = map(float, re.match(r"(\S+) HU at \((\S+), (\S+), (\S+)\) mm", text).groups())
        assert hu == shown.ct.array[z, y, x]
        assert lps == pytest.approx((shown.ct.geometry.affine_lps @ [z, y, x, 1])[:3], abs=0.06)
        for one in shown.sets:
            names = [name for name, mask in one.masks.items() if mask.unpack()[z, y, x]]
            assert (f"{one.name}: {', '.join(names)}" in text) if names else (one.name not in text)


def test_the_keyboard_moves_the_cross(viewer):
    go(viewer, 10, 10, 3)
    canvas = find(viewer, "#canvas")
    canvas.send_keys("\ue012" * 2 + "\ue013" + "\ue00e" * 3)  # arrow left, up, Page up
    assert [find(viewer, f"#at-{axis}").text for axis in "xyz"] == ["13 of 24", "12 of 20", "7 of 8"]
    canvas.send_keys("\ue010" + "\ue014" + "\ue015")  # End, arrow right, down
    assert [find(viewer, f"#at-{axis}").text for axis in "xyz"] == ["12 of 24", "11 of 20", "8 of 8"]
    canvas.send_keys("vcm?")  # NiiVue's own keys
    assert find(viewer, "#view").get_attribute("value") == "3"


@pytest.mark.parametrize("style", ["filled", "outlines"])
def test_a_left_structure_is_drawn_on_the_right_in_its_colour(viewer, shown, style):
    for button in viewer.find_elements("css selector", ".both button:last-child"):
        viewer.execute_script("arguments[0].click()", button)
    choose(viewer, "#view", "0")
    choose(viewer, "#style", style)
    viewer.execute_script(
        "const o = arguments[0]; o.value = 100; o.dispatchEvent(new Event('input'))", find(viewer, "#opacity")
    )
    mask = shown.sets[0].masks["Parotid_L"].unpack()
    z = int(np.argmax(mask.sum(axis=(1, 2))))
    go(viewer, 0, 0, z)  # the cross out of the way
    assert orange(viewer).sum() == 0
    viewer.execute_script("arguments[0].click()", box_of(viewer, "Parotid_L"))
    drawn = np.argwhere(orange(viewer))
    assert len(drawn) > 20
    # The middle of the mask in the picture, which the plane fills in one direction; seen from the feet.
    picture, spacing_mm = np.array(orange(viewer).shape), shown.ct.geometry.spacing_mm[1:]
    size_mm = mask.shape[1:] * spacing_mm
    scale = (picture / size_mm).min()
    inside = np.argwhere(mask[z])
    expected = (inside.min(axis=0) + inside.max(axis=0) + 1) / 2 * spacing_mm * scale + (picture - size_mm * scale) / 2
    found = (drawn.min(axis=0) + drawn.max(axis=0) + 1) / 2
    assert found == pytest.approx(expected, abs=spacing_mm.max() * scale)
    assert found[1] > picture[1] / 2
    viewer.execute_script("arguments[0].click()", box_of(viewer, "Parotid_L"))
    choose(viewer, "#view", "3")
    choose(viewer, "#style", "filled")


def box_of(viewer: Any, structure: str) -> Any:
    rows = viewer.find_elements("css selector", "fieldset label")
    return next(one for one in rows if structure in one.text).find_element("css selector", "input")


def orange(viewer: Any) -> np.ndarray:
    """Where the picture has the colour of the left parotid."""
    viewer.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))")
    png = find(viewer, "#canvas").screenshot_as_png
    blue, green, red = np.moveaxis(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).astype(int), -1, 0)
    return (red > 150) & (red - blue > 100) & (green > 90) & (green < red)


def test_the_window_is_chosen_or_typed(viewer):
    choose(viewer, "#window", find(viewer, "#window option:nth-child(3)").get_attribute("value"))
    assert [find(viewer, f"#{end}").get_attribute("value") for end in ("low", "high")] == ["-500", "1300"]
    choose(viewer, "#low", "2000")
    assert viewer.execute_script("return document.querySelector('#high').validity.valid") is False
    choose(viewer, "#low", "-100")
    assert viewer.execute_script("return document.querySelector('#high').validity.valid")
    assert find(viewer, "#window option:checked").text == "own"


def test_names_are_text(viewer, shown):
    assert viewer.title == "CT - nasoseg view"
    assert [one.text for one in viewer.find_elements("css selector", "legend")] == [one.name for one in shown.sets]
    listed = viewer.execute_script(
        "return [...document.querySelectorAll('fieldset label span:nth-of-type(2)')].map((one) => one.textContent)"
    )
    assert listed == [name for one in shown.sets for name in one.masks]
    assert viewer.execute_script("return document.querySelectorAll('#sets script, #sets b').length") == 0
    empty = viewer.find_elements("css selector", "fieldset input:disabled")
    assert len(empty) == 1


def test_it_reads_well_in_light_dark_and_narrow_and_with_the_keyboard(viewer):
    for scheme, width in (("light", 1000), ("dark", 1000), ("dark", 360)):
        show(viewer, width=width, height=500, scheme=scheme)
        assert viewer.execute_script(CONTRAST) == []
        assert faults(viewer) == []
        beyond = "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
        assert viewer.execute_script(beyond) == 0
    show(viewer, width=700, height=500)
    unreachable = (
        "return [...document.querySelectorAll('a, button, input, select, canvas')]"
        ".filter((one) => one.tabIndex < 0).length"
    )
    assert viewer.execute_script(unreachable) == 0
    unnamed = (
        "return [...document.querySelectorAll('input, select')]"
        ".filter((one) => !one.labels[0]?.textContent.trim()).length"
    )
    assert viewer.execute_script(unnamed) == 0
