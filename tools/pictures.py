"""The pictures of the documentation, taken from what the commands really show.

pip install -e '.[test]'                                          # and Chromium with chromedriver
nasoseg report runs/openkbp --out report
nasoseg view openkbp.h5 --patient pt_63 --prediction two_stage=PREDICTIONS --no-browser &
python tools/pictures.py --page report/report.html --view http://127.0.0.1:... --figures runs/openkbp/report
"""

import argparse
import io
import shutil
import time
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
FIGURES = {"fig3.png": "contours.png", "structures_clean.png": "boxes.png"}
WIDTH = 1200
_SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def main() -> None:
    """Take what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="report.html")
    parser.add_argument("--view", help="the address that `nasoseg view` prints")
    parser.add_argument("--figures", type=Path, help="folder with the figures of a benchmark")
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    if arguments.figures:
        for name, ours in FIGURES.items():
            keep(Image.open(arguments.figures / name), ours)
    if arguments.page or arguments.view:
        browser = start()
        try:
            if arguments.page:
                take_page(browser, arguments.page)
            if arguments.view:
                take_view(browser, arguments.view)
        finally:
            browser.quit()


def start() -> Any:
    """Start Chromium, which draws in software."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", *_SOFTWARE):
        options.add_argument(argument)
    return webdriver.Chrome(service=webdriver.ChromeService(shutil.which("chromedriver")), options=options)


def take_page(browser: Any, page: Path) -> None:
    """Take the report: its beginning, and a case with contours."""
    _size(browser, 900)
    browser.get(page.resolve().as_uri())
    keep(_shot(browser), "report.png")
    stage = browser.find_element("css selector", "#stage")
    browser.execute_script("arguments[0].closest('section').scrollIntoView()", stage)
    time.sleep(1)
    keep(_shot(browser), "case.png")


def take_view(browser: Any, url: str) -> None:
    """Take the viewer once all is drawn."""
    _size(browser, 760)
    browser.get(url)
    hidden = "return document.querySelector('#state').hidden"
    WebDriverWait(browser, 240).until(lambda one: one.execute_script(hidden))
    time.sleep(5)
    keep(_shot(browser), "view.png")


def _size(browser: Any, height: int) -> None:
    metrics = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def _shot(browser: Any) -> Image.Image:
    return Image.open(io.BytesIO(browser.get_screenshot_as_png()))


def keep(picture: Image.Image, name: str) -> None:
    """Write a picture of at most ``WIDTH`` pixels."""
    picture = picture.convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    picture.save(PICTURES / name, optimize=True)  # no palette: it merges the colours of thin contours
    print(f"{PICTURES / name}: {(PICTURES / name).stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
