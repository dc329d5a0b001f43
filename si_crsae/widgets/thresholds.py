"""The threshold explorer: what a threshold on the amplitudes of a unit would miss, and which false spikes it spares."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import traitlets
from spikeinterface.core import BaseSorting

from si_crsae.widgets.held import Held, hold_units
from si_crsae.widgets.session import Session
from si_crsae.widgets.static_plots.thresholds import draw_thresholds
from si_crsae.widgets.view import COMMON, MAX_PAGE_MB, WidgetView, load_module
from si_crsae.widgets.view_models.residual_null import (
    ResidualNull,
    ResidualSample,
    fit_null,
    peaks_like_atom,
    sample_residual,
)
from si_crsae.widgets.view_models.thresholds import (
    ThresholdModel,
    apply_thresholds,
    empty_thresholds,
    lowest_of,
    nothing_to_choose,
    threshold_model,
    with_thresholds,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ThresholdExplorer(WidgetView):
    """The amplitudes of the leading selected unit with a threshold to move, and what it misses and lets through.

    Drag the line in the histogram or move the slider; arrow left and right move it by a step, Page Up and Page Down by
    ten, Home puts it back to the sorter's own minimum. With a truth in the session missed and false spikes are counted,
    without one they are estimated: missed ones from a Gaussian fitted to the amplitudes, false ones from the maxima of
    the residual that resemble the unit. `apply` returns the sorting without the spikes below the thresholds.

    Parameters
    ----------
    session : Session
    thresholds : dict, default: {}
        Relative amplitudes by unit id: 1 is the size of the unit's typical spike.
    theme : {"auto", "light", "dark"}, default: "auto"

    Examples
    --------
    >>> from si_crsae.widgets import ThresholdExplorer, open_session  # doctest: +SKIP
    >>> explorer = ThresholdExplorer(open_session("run"))  # doctest: +SKIP
    >>> explorer.thresholds = {3: 0.7}  # doctest: +SKIP
    >>> cleaned = explorer.apply()  # doctest: +SKIP
    """

    title: ClassVar[str] = "Thresholds: missed against false"
    tab_title: ClassVar[str] = "Thresholds"
    follows: ClassVar[tuple[str, ...]] = ("selected_units",)

    _esm = load_module(*COMMON, "thresholds.js")

    thresholds: Any = traitlets.Dict(help="Relative amplitudes by unit id.").tag(sync=True)

    def __init__(self, session: Session, **traits: Any) -> None:
        self._sample: ResidualSample | None = None
        self._nulls: dict[int, ResidualNull | None] = {}
        self._models: dict[int, ThresholdModel] = {}
        super().__init__(session, **traits)
        self.observe(lambda _: self.refresh(), names=["thresholds"])

    def view_model(self) -> ThresholdModel:
        """Return the amplitudes of the leading unit and what every threshold does.

        That is computed once for a unit, and again when its false alarms have been estimated.
        """
        tested = self.session.tested
        reason = nothing_to_choose(tested)
        if reason:
            return empty_thresholds(reason)
        return self._model_of(self._unit())

    def _model_of(self, unit: int) -> ThresholdModel:
        tested = self.session.tested
        if unit not in self._models:
            self._models[unit] = threshold_model(
                tested,
                unit,
                thresholds={},
                truth=self.session.truth,
                null=self._nulls.get(unit),
                is_pending=unit not in self._nulls and tested.whitened is not None,
            )
        return with_thresholds(self._models[unit], tested, self.thresholds)

    def parameters(self) -> dict[str, Any]:
        """Return what was chosen as plain values.

        Returns
        -------
        dict
            ``thresholds``: relative amplitudes by unit id. ``min_amplitude``, only if one of them is below the sorter's
            own: the parameter with which a new run would find these spikes.
        """
        chosen = dict(self.thresholds)
        tested = self.session.tested
        lower = [value for unit_id, value in chosen.items() if value < self._lowest(unit_id) * (1 - 1e-6)]
        found: dict[str, Any] = {"thresholds": chosen}
        return found | {"min_amplitude": min(lower)} if lower and tested.min_amplitude.any() else found

    def apply(self) -> BaseSorting:
        """Return the sorting without the spikes below their unit's threshold, all units and properties kept."""
        return apply_thresholds(self.session.tested, self.thresholds)

    def estimate(self) -> None:
        """Estimate the false alarms of the leading unit from the residual; it takes about a second the first time."""
        if nothing_to_choose(self.session.tested) or self._unit() in self._nulls:
            return
        self._estimate(self._unit())
        self.refresh()

    def _estimate(self, unit: int) -> None:
        tested = self.session.tested
        if self._sample is None:
            self._sample = sample_residual(tested)
        if self._sample is None:
            self._nulls[unit] = None
        else:
            heights = peaks_like_atom(self._sample, tested.units.atoms[unit])
            limit, duration_s = float(tested.min_amplitude[unit]), self._sample.duration_s
            self._nulls[unit] = fit_null(heights, duration_s=duration_s, limit=limit)
        self._models.pop(unit, None)

    def answers(self) -> dict[str, Any]:
        """Return what to do with each kind of message from the browser."""
        return super().answers() | {
            "set_threshold": self._set_threshold,
            "reset": self._reset,
            "estimate": lambda _: self.estimate(),
        }

    def draw(self, figure: "Figure") -> None:
        """Draw histogram and curve with matplotlib."""
        self.estimate()
        draw_thresholds(figure, self.view_model())

    def save_html(self, path: str | Path, *, max_mb: float = MAX_PAGE_MB) -> Path:
        """Write the view with its estimates into one file, see `WidgetView.save_html`."""
        self._attempt(self.estimate)
        return super().save_html(path, max_mb=max_mb)

    def held(self, *, max_mb: float) -> Held:
        """Return every unit with its estimates."""
        tested = self.session.tested
        if nothing_to_choose(tested):
            return Held(says="nothing to choose")
        present = [tested.unit_ids[self._unit()]]
        answers, units = hold_units(tested.unit_ids, self._estimated, max_mb=max_mb, present=present)
        says = f"all thresholds of {units}; those chosen here are not kept"
        return Held(says=says, kinds=("set_threshold", "reset"), answers=answers)

    def _estimated(self, unit: int) -> ThresholdModel:
        if unit not in self._nulls:
            self._estimate(unit)
        return self._model_of(unit)

    def _unit(self) -> int:
        selected = self.session.selected_units
        return self.session.index_of(selected[0]) if selected else 0

    def _lowest(self, unit_id: int | str) -> float:
        return lowest_of(self.session.tested, self.session.index_of(unit_id))

    @traitlets.validate("thresholds")
    def _check_thresholds(self, proposal: Any) -> dict[int | str, float]:
        thresholds = proposal["value"]
        self.session.known_units("thresholds", list(thresholds))
        wrong = {unit_id: value for unit_id, value in thresholds.items() if not 0 < value < float("inf")}
        if wrong:
            raise traitlets.TraitError(f"thresholds has {wrong}: they must be positive, 1 for the unit's typical spike")
        return {unit_id: float(value) for unit_id, value in thresholds.items()}

    def _set_threshold(self, content: dict[str, Any]) -> None:
        unit_id = self.session.tested.unit_ids[content["unit_index"]]
        self.thresholds = self.thresholds | {unit_id: float(content["value"])}

    def _reset(self, content: dict[str, Any]) -> None:
        """Forget the threshold of one unit, or of all."""
        gone = content.get("unit_index")
        kept = None if gone is None else self.session.tested.unit_ids[gone]
        self.thresholds = {} if gone is None else {key: value for key, value in self.thresholds.items() if key != kept}
