import json
import shutil

import pytest

from si_crsae.widgets.packing import to_text

# Messages and changed traits go to the widget in this process, what it changes comes back.
CONNECT = """
() => {
  model.isStatic = false;
  const dirty = {};
  const set = model.set.bind(model);
  const setAndNote = (name, value) => { dirty[name] = value; set(name, value); };
  model.set = setAndNote;
  // what comes from the kernel need not go back to it
  const receive = model.receive.bind(model);
  model.receive = (changes) => {
    model.set = set;
    receive(changes);
    model.set = setAndNote;
  };
  const ask = async (message) => {
    model.numPending = (model.numPending ?? 0) + 1;
    const changes = JSON.parse(await window.toKernel(JSON.stringify(message)));
    for (const [name, value] of Object.entries(changes)) model.state[name] = undefined;
    model.receive(changes);
    model.numPending -= 1;
  };
  model.send = (content) => ask({ content });
  model.save_changes = () => { ask({ state: { ...dirty } }); for (const name in dirty) delete dirty[name]; };
  model.emit("change:theme");
}
"""
# What is written on each canvas since it was cleared, and where.
NOTE_TEXTS = """
{
  const drawing = CanvasRenderingContext2D.prototype;
  const { clearRect, fillText } = drawing;
  drawing.clearRect = function (...box) {
    this.canvas.texts = [];
    clearRect.apply(this, box);
  };
  drawing.fillText = function (text, x, y) {
    const size = this.measureText(text);
    const at = this.getTransform().transformPoint({ x, y });
    (this.canvas.texts ??= []).push({
      text,
      left: at.x - size.actualBoundingBoxLeft,
      right: at.x + size.actualBoundingBoxRight,
      top: at.y - size.actualBoundingBoxAscent,
      bottom: at.y + size.actualBoundingBoxDescent,
    });
    fillText.call(this, text, x, y);
  };
}
"""
RECEIVE = "(changes) => model.receive(JSON.parse(changes))"
UNUSED_KEY = "ScrollLock"
LISTEN = "window.addEventListener('keyup', done, { once: true, capture: true })"
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30))))"


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


class LivePage:
    """A view in a page, with its widget in this process as the kernel."""

    def __init__(self, page, view, path):
        self.page, self.view = page, view
        self.problems = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        self.changed = {}
        view.observe(lambda change: self.changed.update({change.name: change.new}), names=list(view.keys))
        page.expose_function("toKernel", self._answer)
        page.add_init_script(NOTE_TEXTS)
        page.goto(view.save_html(path, max_mb=0).as_uri())
        self.changed["payload"] = view.payload  # a saved page may begin with more
        page.evaluate(RECEIVE, self._take_changes())
        page.evaluate(CONNECT)
        self.settle()

    def _answer(self, text):
        message = json.loads(text)
        if "content" in message:
            self.view._handle_custom_msg(message["content"], [])
        else:
            self.view.set_state(message["state"])
        return self._take_changes()

    def _take_changes(self):
        changes, self.changed = self.changed, {}
        return json.dumps({name: to_text(value) for name, value in changes.items() if name in self.view.keys})

    def push(self):
        """Send what Python has changed, as a kernel would at once."""
        self.page.evaluate(RECEIVE, self._take_changes())
        self.settle()

    def settle(self):
        """Wait until all keys and clicks were heard, nothing is on its way and all is drawn."""
        self.page.evaluate(f"() => {{ window.heard = new Promise((done) => {LISTEN}); }}")
        self.page.keyboard.press(UNUSED_KEY)  # input is heard in order
        self.page.evaluate("() => window.heard")
        self.page.wait_for_function("() => !(model.numPending > 0)")
        self.page.evaluate(DRAWN)
        self.page.wait_for_function("() => !(model.numPending > 0)")

    def screenshot(self, path):
        self.page.locator(".crsae").screenshot(path=path)

    def locator(self, selector, **options):
        return self.page.locator(selector, **options)

    def drawn_texts(self, selector):
        """The texts on a canvas: dictionaries of text, left, right, top and bottom."""
        return self.page.locator(selector).evaluate("(canvas) => canvas.texts")

    def text(self, selector=".crsae"):
        return self.page.locator(selector).inner_text()


@pytest.fixture
def show(browser, tmp_path):
    """Function that opens a view in a page and returns a `LivePage`; no page may report an error."""
    opened = []

    def open_page(view, *, width=1100, height=900, color_scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=color_scheme)
        opened.append(LivePage(page, view, tmp_path / f"view_{len(opened)}.html"))
        return opened[-1]

    yield open_page
    for live in opened:
        live.page.close()
    assert not [problem for live in opened for problem in live.problems]
