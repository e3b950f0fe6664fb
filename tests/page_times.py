"""How large the page of a sweep is, and how long a reader waits for it: `python tests/page_times.py`.

Of the recorded sweep, and of 100,000 made-up runs. Each page is opened three times in a browser of its own.
"""

import tempfile
from pathlib import Path
from statistics import median

from pages import CHROMIUM, PARITY, tables, write
from playwright.sync_api import sync_playwright
from test_page import HUGE

import analysis

AGAIN = """async () => {
    const begun = performance.now();
    grokPage.set("min_loss", grokPage.state.min_loss * 2);
    await new Promise(requestAnimationFrame);
    return performance.now() - begun;
}"""


def times(path: Path) -> tuple[float, float]:
    """(seconds until the page can be used, after a slider moved until all is drawn again), medians."""
    first, again = [], []
    with sync_playwright() as playwright:
        for _ in range(3):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            first.append(page.evaluate("performance.getEntriesByName('usable')[0].startTime") / 1000)
            again.append(median(page.evaluate(AGAIN) for _ in range(5)) / 1000)
            browser.close()
    return median(first), median(again)


def main() -> None:
    """Print a line for each page."""
    with tempfile.TemporaryDirectory() as folder:
        pages = {
            "parity_1125": (analysis.load_runs(PARITY), analysis.load_curves(PARITY)),
            "100,000 runs": tables(HUGE, seeds=50, logged=11),
        }
        for name, (runs, curves) in pages.items():
            path = write(Path(folder) / "report.html", runs, curves)
            first, again = times(path)
            size = path.stat().st_size / 1e6
            print(f"{name}: {size:.1f} MB, usable after {first:.1f} s, classified again in {again:.2f} s")


if __name__ == "__main__":
    main()
