import { Surface, make, unitColor } from "./shared.js";
import { drawAmplitudes, drawCorrelograms, drawWaveforms, templateLayout } from "./template_panels.js";

const OUTCOME_PICTURE_HEIGHT = 160;
const OUTCOME_CORRELOGRAM_HEIGHT = 130;
const TABLE_WIDTH = 250;
const LEAST_WIDTH = 240;
const FRAME = 18;
const GAPS = 24;

function rowsTable(outcome, parts) {
  const numbers = [...outcome.names.map((_, place) => outcome.first_number + place), ...parts];
  const titles = ["unit", "spikes", "rate (Hz)", "< 1.5 ms (%)"];
  const body = outcome.rows.map((row, place) => make("tr", { class: place < outcome.names.length ? "made" : null },
    make("th", { scope: "row" }, make("span", { class: "crsae-dot", style: `--unit-color: ${unitColor(numbers[place])}` }), row.name),
    make("td", {}, row.num_spikes.toLocaleString("en-US")), make("td", {}, row.rate_hz.toFixed(2)), make("td", {}, row.violations_percent.toFixed(2))));
  return make("table", {}, make("tr", {}, ...titles.map((title) => make("th", { scope: "col" }, title))), ...body);
}

// The units that a merge or a split makes beside their parts, before it is decided and afterwards.
export function outcomePanel() {
  const title = make("h5", { role: "status" });
  const figures = make("div", { style: `width: ${TABLE_WIDTH}px` });
  const waveforms = new Surface("Waveforms of the made units and their parts");
  const correlograms = new Surface("Correlograms of the made units and their parts");
  const amplitudes = new Surface("Amplitudes of the made units over time");
  for (const surface of [waveforms, correlograms, amplitudes]) surface.canvas.removeAttribute("tabindex");
  const pictures = make("div", { class: "crsae-row" }, figures, waveforms.canvas, amplitudes.canvas);
  const node = make("section", { class: "crsae-outcome crsae-hidden", "aria-label": "What a merge or split makes" }, title, pictures, correlograms.canvas);

  function draw({ outcome, made, detail }, colors, width, cursor) {
    node.classList.toggle("crsae-hidden", !outcome);
    if (!outcome) return;
    title.textContent = outcome.title;
    node.classList.toggle("decided", outcome.is_decided);
    const { overview } = detail.pictures;
    const names = [...overview.unit_ids, ...made.map((unit) => unit.name)];
    outcome.names.forEach((name, place) => { names[outcome.first_number + place] = name; });
    const shown = { ...detail.pictures, ...outcome.pictures, overview: { ...overview, unit_ids: names } };
    figures.replaceChildren(rowsTable(outcome, outcome.rows.slice(outcome.names.length).map((row) => names.indexOf(row.name))));
    const all = width - FRAME;
    const room = all - TABLE_WIDTH - GAPS;
    const part = (share) => (room >= 2 * LEAST_WIDTH ? Math.floor(share * room) : all);
    const layout = templateLayout(shown, { width: part(0.4), height: OUTCOME_PICTURE_HEIGHT, isWhole: false, gain: 1, waveforms: shown.atoms });
    drawWaveforms(waveforms.resize(part(0.4), OUTCOME_PICTURE_HEIGHT), layout, shown, shown.atoms, colors);
    drawAmplitudes(amplitudes, shown, colors, { width: part(0.6), height: OUTCOME_PICTURE_HEIGHT, cursor });
    drawCorrelograms(correlograms, shown, colors, all, OUTCOME_CORRELOGRAM_HEIGHT);
  }
  return { node, draw };
}
