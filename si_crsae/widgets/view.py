"""What all views have in common: data to the browser, messages from it, errors where they can be seen."""

import base64
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import numpy as np
import traitlets

from si_crsae.evaluation.figures import new_figure
from si_crsae.widgets.held import Held
from si_crsae.widgets.packing import pack
from si_crsae.widgets.page import write_page
from si_crsae.widgets.session import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATIC_PICTURES = "SI_CRSAE_STATIC_PICTURES"
# Of a saved page, beside what is shown: it is sent by mail and opened on a telephone.
MAX_PAGE_MB = 20.0
# Traits that a page has no use for.
UNSAVED = ("layout", "comm", "tabbable", "tooltip", "picture")
JAVASCRIPT = Path(__file__).parent / "javascript"
# Modules of every view, and of those that have a list of units.
COMMON = ("shared.js", "keys.js", "pictures.js")
UNIT_LIST = (*COMMON, "filter.js", "grid_list.js", "unit_columns.js")
# Formats in which a view is saved from the browser, and what each is called there.
PICTURE_TYPES = {"svg": "image/svg+xml", "png": "image/png"}
PICTURE_DPI = 200


@cache
def load_module(*names: str) -> str:
    """Return files of the package's JavaScript as one module; each may import from those before it."""
    texts = [(JAVASCRIPT / name).read_text(encoding="utf8") for name in names]
    joined = "\n".join(re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE) for text in texts)
    return re.sub(r"^export (?!default)", "", joined, flags=re.MULTILINE)


class WidgetView(anywidget.AnyWidget):
    """A picture of a session that answers to clicks.

    A subclass says what there is to see (`view_model`), upon which traits of the session it depends (`follows`), what
    it does with the messages of its JavaScript (`answers`), and what of it a saved page can show (`held`). Whatever
    goes wrong is shown in the view.

    Parameters
    ----------
    session : Session or None, default: None
        Views of something else than a sorting, such as one under way, have none.
    theme : {"auto", "light", "dark"}, default: "auto"
        Colors; "auto" follows the notebook.
    is_awake : bool, default: True
        While False, as in a tab that is not seen, nothing is computed.
    """

    title: ClassVar[str] = ""
    tab_title: ClassVar[str] = ""
    """As short as the tab of a dashboard is wide."""
    follows: ClassVar[tuple[str, ...]] = ("selected_units", "time_s", "segment_index")

    session: Session
    _followed: tuple[tuple[Callable[[Any], None], list[str]], ...] = ()

    _esm: ClassVar[str]
    _css = (JAVASCRIPT / "style.css").read_text(encoding="utf8")

    payload = traitlets.Dict().tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    theme = traitlets.Enum(["auto", "light", "dark"], "auto").tag(sync=True)
    picture = traitlets.Dict(help="The file that the browser saves: name, type and content.").tag(sync=True)
    is_awake = traitlets.Bool(True)

    def __init__(self, session: Session | None = None, **traits: Any) -> None:
        self._num_holds = 0
        self._problems: dict[str, str] = {}
        if session is not None:
            self.session = session  # validating traits needs it
        super().__init__(**traits)
        self.on_msg(self._receive)
        if session is not None and self.follows:
            self.follow_session(lambda _: self.refresh(), self.follows)
        self.observe(lambda _: self.refresh(), names="is_awake")
        self.refresh()

    def view_model(self) -> Any:
        """Return what there is to see, as plain data."""
        raise NotImplementedError

    @classmethod
    def is_for(cls, session: Session) -> bool:
        """Tell whether a session has what the view shows, so that a dashboard has a tab for it."""
        return True

    def answers(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        """Return what to do with each kind of message from the browser."""
        return {"select_units": self._select_units, "go_to": self._go_to, "next_spike": self._next_spike}

    def draw(self, figure: "Figure") -> None:
        """Draw what the view shows with matplotlib."""
        raise NotImplementedError

    def to_matplotlib(self, *, figsize: Sequence[float] = (11, 6)) -> "Figure":
        """Return the same picture for papers and docs.

        Parameters
        ----------
        figsize : sequence of two floats, default: (11, 6)
            In inches.
        """
        figure = new_figure(figsize=(figsize[0], figsize[1]))
        self.draw(figure)
        return figure

    def held(self, *, max_mb: float) -> Held:
        """Return what a saved page can show: what is shown now, and what else fits into a size.

        Parameters
        ----------
        max_mb : float
            Size of all that is not shown now (MB).
        """
        raise NotImplementedError

    def page_payload(self) -> Any:
        """Return what a saved page begins with, packed: more than is shown now where the view can draw it by itself."""
        return self.payload

    def save_html(self, path: str | Path, *, max_mb: float = MAX_PAGE_MB) -> Path:
        """Write the view into one file that opens in any browser, with neither kernel nor network.

        The page says what it holds, and offers nothing else: what is shown now, and as much of the rest, such as the
        panels of the other units, as fits.

        Parameters
        ----------
        path : str or Path
        max_mb : float, default: 20
            Size of what is not shown now (MB); 0 for what is shown only.

        Returns
        -------
        Path
            Where it was written.
        """
        with self.one_refresh():  # what an unseen tab holds is old
            is_awake, self.is_awake = self.is_awake, True
        state = {name: getattr(self, name) for name in self.trait_names(sync=True) if not name.startswith("_")}
        state = {name: value for name, value in state.items() if name not in UNSAVED}
        state |= {"payload": self.page_payload(), "held": self.held(max_mb=max_mb).packed}
        self.is_awake = is_awake
        return write_page(Path(path), title=self.title, script=str(self._esm), style=str(self._css), state=state)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return what a notebook displays; for those read without a kernel, such as the docs, the picture as well."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if not os.environ.get(STATIC_PICTURES):
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        picture = io.BytesIO()
        self.to_matplotlib().savefig(picture, format="png", dpi=80)
        return data | {"image/png": base64.b64encode(picture.getvalue()).decode("ascii")}, metadata

    def refresh(self) -> None:
        """Show the present state of the session."""
        if self.is_awake and not self._num_holds:
            self._attempt(lambda: self.set_trait("payload", pack(self.view_model())), name="refresh")

    @contextmanager
    def one_refresh(self) -> Iterator[None]:
        """Change several things and show them at once."""
        self._num_holds += 1
        try:
            yield
        finally:
            self._num_holds -= 1
            self.refresh()

    def close(self) -> None:
        """Remove the view from where it is shown; it follows its session no longer."""
        for action, names in self._followed:
            self.session.unobserve(action, names=names)
        self._followed = ()
        super().close()

    def follow_session(self, action: Callable[[Any], None], names: Sequence[str]) -> None:
        """Have something done when one of some traits of the session changes, until the view is closed."""
        self.session.observe(action, names=list(names))
        self._followed = (*self._followed, (action, list(names)))

    def _select_units(self, content: dict[str, Any]) -> None:
        known = {str(unit_id): unit_id for unit_id in self.session.tested.unit_ids}
        self.session.selected_units = [known[str(unit_id)] for unit_id in content["unit_ids"]]

    def _go_to(self, content: dict[str, Any]) -> None:
        self.session.go_to(float(content["time_s"]), segment_index=content.get("segment_index"))

    def _next_spike(self, content: dict[str, Any]) -> None:
        time_s = self.session.next_spike_s(backwards=content["backwards"])
        if time_s is not None:
            self.session.go_to(time_s)

    def _send_picture(self, content: dict[str, Any]) -> None:
        """Have the browser save what the view shows, as `to_matplotlib` draws it."""
        kind, written = content["format"], io.BytesIO()
        if kind not in PICTURE_TYPES:
            raise ValueError(f"format = {kind!r}: pictures are {' or '.join(PICTURE_TYPES)}")
        self.to_matplotlib().savefig(written, format=kind, dpi=PICTURE_DPI, bbox_inches="tight")
        drawn = np.frombuffer(written.getvalue(), "uint8")
        name = f"{type(self).__name__}.{kind}"
        number = self.picture.get("number", 0) + 1  # the same picture once more is news
        self.picture = {"name": name, "type": PICTURE_TYPES[kind], "content": pack(drawn), "number": number}

    def _receive(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        answers = self.answers() | {"picture": self._send_picture}
        kind = content.get("kind", "") if isinstance(content, dict) else content
        if isinstance(kind, str) and kind in answers:
            self._attempt(lambda: answers[kind](content))
        else:
            self.error = f"the view was sent {kind!r}, which it does not know; it knows {', '.join(answers)}"

    def _attempt(self, action: Callable[[], None], *, name: str = "action") -> None:
        """Run an action of a callback, where nobody catches what it raises: the view shows it instead.

        What a refresh raises is shown until one succeeds, even if the action succeeds that has asked for it.
        """
        try:
            action()
        except Exception as error:
            self._problems[name] = f"{type(error).__name__}: {error}"
        else:
            self._problems = {} if name == "refresh" else self._problems | {name: ""}
        self.error = "\n".join(dict.fromkeys(filter(None, self._problems.values())))
