"""The HTML page in Chromium: sorted, filtered, scrolled, with the keyboard, dark, narrow, printed; and a large one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium_pages import CONTRAST, faults, find, show, started_chromium
from page_runs import EVIL_METHOD, EVIL_PATIENT, drawn_values, write_metrics

from nasoseg.report.page import write_page

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium once for all tests of this file."""
    with started_chromium("--disable-gpu") as browser:
        yield browser


@pytest.fixture
def page(browser: Any, written: Path) -> Iterator[Any]:
    """Open the page anew; what went wrong in it shows in its console."""
    show(browser)
    browser.get(written.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def column(browser: Any, number: int) -> list[str]:
    """Read the shown cells of a column of the patients' table, from 1."""
    script = (
        "return [...document.querySelectorAll('#patients-table tbody tr:not([hidden])')]"
        ".map((row) => row.cells[arguments[0] - 1].textContent)"
    )
    return browser.execute_script(script, number)


def heading(browser: Any, number: int) -> Any:
    return find(browser, f"#patients-table th:nth-child({number})")


def lines(browser: Any) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll('#stage path.line')].map((path) => path.textContent)"
    )


def test_a_table_sorts_by_click_and_by_key(page):
    as_written = column(page, 3)
    find(heading(page, 3), "button").click()
    assert heading(page, 3).get_attribute("aria-sort") == "ascending"
    assert column(page, 3) == sorted(as_written, key=float) != as_written
    find(heading(page, 3), "button").send_keys("\ue007")  # Enter
    assert heading(page, 3).get_attribute("aria-sort") == "descending"
    assert column(page, 3) == sorted(as_written, key=float, reverse=True)
    find(heading(page, 4), "button").send_keys(" ")
    assert heading(page, 3).get_attribute("aria-sort") == "none"
    values = column(page, 4)
    measured = [value for value in values if value[0].isdigit()]
    assert measured == sorted(measured)
    assert len(measured) == len(values) - 2  # the odd patient has no brainstem, and stands last for both methods
    assert column(page, 1)[-2:] == [EVIL_PATIENT] * 2


def test_a_table_filters_by_text_by_list_and_shows_other_metrics(page):
    total = len(column(page, 1))
    find(page, "#patients-table .search").send_keys("<SCRIPT>")
    assert column(page, 1) == [EVIL_PATIENT] * 2
    assert find(page, "#patients-table .count").text == f"2 of {total} rows"
    find(page, "#patients-table .search").clear()
    find(page, "#patients-table .search").send_keys(" ")
    choose(page, "#patients-table .filter", EVIL_METHOD)
    assert set(column(page, 2)) == {EVIL_METHOD}
    assert len(column(page, 1)) == total // 2
    before = column(page, 4)
    choose(page, "#patients-table .metric", "HD95, mm")
    after = column(page, 4)
    assert [float(value) for value in after[1:]] == pytest.approx([20 * float(v) for v in before[1:]], abs=0.06)


def choose(browser: Any, selector: str, text: str) -> None:
    select = find(browser, selector)
    next(option for option in select.find_elements("css selector", "option") if option.text == text).click()


def test_the_cases_scroll_and_contours_switch(page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.wait import WebDriverWait

    shown = find(page, "#place").text
    picture = find(page, "#stage image").get_attribute("href")
    assert {line.split(",")[0] for line in lines(page)} == {"truth (annotated)", "two_stage"}
    stage = find(page, "#stage")
    stage.click()
    stage.send_keys("\ue011")  # Home
    assert find(page, "#slice").get_attribute("value") == "0"
    assert find(page, "#place").text != shown
    assert find(page, "#stage image").get_attribute("href") != picture
    ActionChains(page).scroll_from_origin(_over(stage), 0, -120).perform()
    WebDriverWait(page, 30).until(lambda _: find(page, "#slice").get_attribute("value") == "1")
    find(page, "#slice").send_keys("\ue014")  # arrow to the right
    assert find(page, "#slice").get_attribute("value") == "2"

    for box in page.find_elements("css selector", "#methods input"):
        if box.get_attribute("value") == EVIL_METHOD:
            box.send_keys(" ")
    assert EVIL_METHOD in {line.rsplit(", ", 1)[0] for line in lines(page)}
    find(page, "#methods button:last-child").click()
    assert lines(page) == []
    find(page, "#methods button").click()
    strokes = (
        "return new Set([...document.querySelectorAll('#stage path.line')].map((p) => p.getAttribute('stroke'))).size"
    )
    assert page.execute_script(strokes) == 3  # a colour for each method and the truth
    structure = lines(page)[0].rsplit(", ", 1)[1]
    find(page, "#names button:last-child").click()
    assert lines(page) == []
    find(page, f"#names input[value='{structure}']").send_keys(" ")
    assert {line.rsplit(", ", 1)[1] for line in lines(page)} == {structure}
    choose(page, "#colour-by", "structure")
    assert page.execute_script(strokes) == 1
    worst = find(page, "#remarks").text
    page.execute_script("document.querySelector('#case').focus()")
    find(page, "#case").send_keys("\ue015")  # arrow down: the next patient
    assert find(page, "#remarks").text != worst


def _over(element: Any) -> Any:
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    return ScrollOrigin.from_element(element)


def test_it_reads_well_in_light_dark_narrow_and_printed(page):
    assert page.execute_script(CONTRAST) == []
    assert faults(page) == []
    light = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    show(page, scheme="dark")
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") != light
    assert page.execute_script(CONTRAST) == []
    assert faults(page) == []
    show(page, width=360, height=740)
    assert page.execute_script("return document.documentElement.scrollWidth") == 360
    assert faults(page) == []
    show(page, scheme="dark", media="print")
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not find(page, "#patients-table .controls").is_displayed()
    assert page.execute_script(
        "return document.querySelector('.tall').clientHeight >= document.querySelector('.tall table').offsetHeight"
    )


def test_everything_can_be_reached_with_the_keyboard(page):
    find(page, "body").send_keys("\ue004")  # Tab
    assert page.switch_to.active_element.text == "Skip to the content"
    script = (
        "return [...document.querySelectorAll('a, button, input, select, summary, .scroll, #stage')]"
        ".filter((one) => !one.disabled && one.checkVisibility() && one.tabIndex < 0).length"
    )
    assert page.execute_script(script) == 0
    unnamed = (
        "return [...document.querySelectorAll('input, select')]"
        ".filter((one) => !one.labels.length || !one.labels[0].textContent.trim()).length"
    )
    assert page.execute_script(unnamed) == 0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 12 methods on 124 patients in five folds, with ten structures."""
    root = tmp_path_factory.mktemp("large")
    keys, structures = [f"pt_{i}" for i in range(124)], [f"Structure_{i}" for i in range(10)]
    for m in range(12):
        for fold in range(5):
            context = (f"method_{m}", "clean", str(fold), "-", "-")
            values = drawn_values(keys[fold::5], structures, level=0.6 + 0.02 * m, seed=100 * m + fold)
            path = root / f"method_{m}" / f"fold{fold}" / "metrics.csv"
            write_metrics(path, context, values, metrics=("dsc", "nsd", "hd95"), averagings=("volume", "pooled"))
    return write_page([root], root / "page", resamples=10)


@pytest.mark.slow
def test_twelve_methods_on_124_patients_stay_small(large):
    assert large.stat().st_size < 7 * MEBIBYTE  # the cases may take 8, of 15


@pytest.mark.slow
def test_a_large_page_opens_fast(browser, large):
    browser.switch_to.new_window("tab")  # a renderer of its own, that has done nothing yet
    browser.execute_cdp_cmd("Performance.enable", {})
    browser.get(large.as_uri())
    assert find(browser, "#patients-table .count").text == "1488 of 1488 rows"
    took = {one["name"]: one["value"] for one in browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]}
    # The renderer's own time: what else the machine does is not the page's fault.
    assert took["ProcessTime"] < 3
    assert browser.get_log("browser") == []
