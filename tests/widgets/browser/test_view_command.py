"""A run is looked at in a browser without a notebook, by who has the token, on this machine only."""

import http.client
import re
import subprocess
import sys
import time
from urllib.parse import urlsplit

import psutil
import pytest

from si_crsae.widgets.serving import POLICY

pytest.importorskip("voila", reason="voila is not installed")


@pytest.fixture(scope="module")
def served(run_folder, tmp_path_factory):
    """Address of the served page, and the process that serves it."""
    folder = tmp_path_factory.mktemp("served")
    log = folder / "log.txt"
    command = [sys.executable, "-m", "si_crsae", "view", str(run_folder), "--no-browser"]
    command += ["--curation", str(folder / "curation.json")]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield address_in(log), process, folder
    finally:
        process.terminate()
        process.wait(timeout=20)
        print(log.read_text(encoding="utf8"))  # pytest shows it where a test has failed


def address_in(log, *, timeout_s=60):
    """Wait until a page is served; return its address."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = re.search(r"http://\S+", log.read_text(encoding="utf8"))
        if found:
            return found.group()
        time.sleep(0.2)
    raise TimeoutError(log.read_text(encoding="utf8"))


def status_of(address, *, host=None):
    """Return status and policy of the answer to a request."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", f"{parts.path}?{parts.query}", headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Security-Policy"), answer.read().decode(errors="replace")


@pytest.mark.slow
def test_the_dashboard_is_drawn_answers_and_saves(browser, served):
    address, _, folder = served
    page, asked = browser.new_page(viewport={"width": 1300, "height": 1000}), []
    page.on("response", lambda response: asked.append(response.url))
    page.goto(address)
    view = page.locator(".crsae[data-drawn]")
    view.first.wait_for(timeout=90_000)
    page.get_by_role("tab", name="Curation").click()
    listed = page.get_by_role("grid", name="Units: arrows up and down, Shift or Enter adds")
    listed.locator("tr[data-unit='0']").click(timeout=30_000)
    page.keyboard.press("g")
    page.locator(".crsae-steps button", has_text="label 0: good").wait_for(timeout=20_000)
    page.get_by_role("button", name=f"Save to {folder / 'curation.json'}").click()
    page.get_by_text("saved", exact=True).wait_for(timeout=20_000)
    assert "good" in (folder / "curation.json").read_text(encoding="utf8")
    assert {urlsplit(url).netloc for url in asked if url.startswith("http")} == {urlsplit(address).netloc}
    page.close()


def test_who_has_no_token_gets_nothing(served):
    address, _, _ = served
    without = address.partition("?")[0]
    for wrong in (without, without + "?token=guessed"):
        status, _, text = status_of(wrong)
        assert status in (302, 401, 403)
        assert "kernel" not in text.lower()
    assert status_of(without + "api/kernels/00000000-0000-0000-0000-000000000000")[0] in (302, 401, 403)


def test_it_listens_on_this_machine_only_and_to_its_own_name(served):
    address, process, _ = served
    listening = [one.laddr for one in psutil.Process(process.pid).net_connections() if one.status == "LISTEN"]
    assert listening
    assert {place.ip for place in listening} == {"127.0.0.1"}
    assert status_of(address, host="another.example")[0] == 403
    assert status_of(address)[1] == POLICY
