"""A report in a browser: it asks nothing of the network, and no picture or table leaves its page."""

import pytest

import si_crsae


@pytest.mark.parametrize("width", [420, 1000])
def test_a_report_opens_offline_and_fits_its_page(browser, moving_run_folder, tmp_path, width):
    path = si_crsae.report(moving_run_folder, tmp_path / "report.html")
    page, asked, problems = browser.new_page(viewport={"width": width, "height": 900}), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    assert asked == [path.as_uri()]
    assert not problems
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    empty = "[...document.querySelectorAll('svg')].filter((one) => one.getBBox().width < 50).length"
    assert page.evaluate(empty) == 0
    page.locator("#units a").last.click()
    assert page.evaluate("document.querySelector('.unit:target') !== null")
    assert page.pdf().startswith(b"%PDF")
    page.close()
