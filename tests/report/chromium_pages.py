"""Pages in Chromium: started without a window, shown in a size and a scheme, and what is wrong with them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def started_chromium(*arguments: str) -> Iterator[Any]:
    """Start Chromium with its driver, or skip the test where one of them lacks."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("there is no Chromium with chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", *arguments):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(service=webdriver.ChromeService(driver), options=options)
    try:
        started.set_page_load_timeout(300)
        yield started
    finally:
        started.quit()


def show(browser: Any, *, width: int = 1200, height: int = 900, scheme: str = "light", media: str = "") -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    # Without motion, so that nothing is clicked while the page still scrolls there.
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def faults(browser: Any) -> list[str]:
    """Return what axe-core finds against the WCAG and good practice: names, roles, landmarks, contrast, order."""
    found = pytest.importorskip("axe_core_python.selenium", reason="pip install axe-core-python").Axe().run(browser)
    return [f"{one['help']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]


# Contrast as WCAG 2.2 defines it, of every text against the nearest ground that is painted behind it: axe-core leaves
# labels that hold their field undecided.


CONTRAST = """
const parse = (text) => [...text.match(/[\\d.]+/g).map(Number), 1];  // red, green, blue, and 1 where there is no alpha
const light = ([r, g, b]) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
  const part = [r, g, b][i] / 255;
  return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
}, 0);
const ground = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const found = parse(getComputedStyle(one).backgroundColor);
    if (found[3] > 0.99) return found;
  }
  return [255, 255, 255, 1];
};
const bad = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const hidden = !element.checkVisibility() || element.closest("svg, script, style");
  if (hidden || !walker.currentNode.textContent.trim()) continue;
  const both = [light(parse(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
  const ratio = (both[0] + 0.05) / (both[1] + 0.05);
  if (ratio < 4.5) bad.push([walker.currentNode.textContent.trim().slice(0, 40), ratio]);
}
return bad;
"""
