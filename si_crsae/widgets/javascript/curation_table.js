import { make, unitColor } from "./shared.js";
import { formatFigure } from "./template_panels.js";

const LISTED = { snr: "SNR", num_spikes: "spikes", firing_rate: "rate", expected_false_positive_rate: "false" };

// The units as rows: what they are, what becomes of them.
export function decisionTable(data, { sort, prefix, choose, resort }) {
  const { overview } = data.detail.pictures;
  const figures = Object.keys(LISTED).map((name) => overview.figures.find((figure) => figure.name === name)).filter(Boolean);
  const rows = overview.unit_ids.map((_, unit) => unit);
  const values = figures.find((figure) => figure.name === sort.name)?.values;
  if (values) {
    const rank = (unit) => (Number.isNaN(values[unit]) ? Infinity : values[unit] * (sort.isDown ? -1 : 1));
    rows.sort((one, other) => (rank(one) === rank(other) ? one - other : rank(one) - rank(other)));
  } else if (sort.name === "decided") {
    const said = (unit) => [data.decided[unit], ...data.labels[unit]].join(" ") || "\uffff";
    rows.sort((one, other) => said(one).localeCompare(said(other)) || one - other);
  }
  if (!values && sort.isDown) rows.reverse();
  const head = (name, text, hint) => make("th", {
    class: name === "decided" ? "crsae-decided" : null, scope: "col", "aria-sort": sort.name === name ? (sort.isDown ? "descending" : "ascending") : "none",
  }, make("button", { title: `Sort by ${hint}`, tabindex: "-1", "data-sort": name, onclick: () => resort(name) },
    text + (sort.name === name ? (sort.isDown ? " ▼" : " ▲") : "")));
  const selected = new Set(data.selected);
  // what the decisions make, after what there is
  const made = data.made.map((unit, place) => ({ ...unit, number: overview.unit_ids.length + place }));
  const madeRows = made.map((unit) => make("tr", {
    id: `${prefix}${unit.number}`, role: "row", "aria-selected": "false", "data-unit": unit.name, class: "made",
    title: "Made by a decision; click to look at it beside its parts", onclick: (event) => choose(unit.number, event),
  },
  make("td", { class: "crsae-unit-name" }, make("span", { class: "crsae-dot", style: `--unit-color: ${unitColor(unit.number)}` }), unit.name),
  make("td", { class: "crsae-decided" }, `= ${unit.made_of}`),
  ...figures.map((figure) => make("td", {}, { num_spikes: unit.num_spikes.toLocaleString("en-US"), firing_rate: unit.rate_hz.toFixed(2) }[figure.name] ?? "–"))));
  const body = rows.map((unit) => make("tr", {
    id: `${prefix}${unit}`, role: "row", "aria-selected": String(selected.has(unit)), "data-unit": overview.unit_ids[unit],
    class: data.is_removed[unit] ? "removed" : null, onclick: (event) => choose(unit, event),
  },
  make("td", { class: "crsae-unit-name" }, make("span", { class: "crsae-dot", style: `--unit-color: ${unitColor(unit)}` }), overview.unit_ids[unit]),
  make("td", { class: "crsae-decided" }, ...data.labels[unit].flatMap((value) => [make("span", { class: "crsae-label" }, value), " "]), data.decided[unit]),
  ...figures.map((figure) => make("td", {}, formatFigure(figure, unit)))));
  const heads = figures.map((figure) => head(figure.name, figure.unit ? `${LISTED[figure.name]} (${figure.unit})` : LISTED[figure.name], figure.hint));
  const table = make("table", { role: "presentation" },
    make("thead", {}, make("tr", {}, head("id", "unit", "unit"), head("decided", "decided", "what was decided"), ...heads)),
    make("tbody", {}, ...body, ...madeRows));
  return { table, rows: [...rows, ...made.map((unit) => unit.number)] };
}
