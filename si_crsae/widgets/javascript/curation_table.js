import { GridList } from "./grid_list.js";
import { chooserRows } from "./keys.js";
import { make, unitColor } from "./shared.js";
import { figureColumn, idColumn } from "./unit_columns.js";

const LISTED = { snr: "SNR", num_spikes: "spikes", firing_rate: "rate", probability_good: "good", expected_false_positive_rate: "false" };
const MADE_FIGURES = { num_spikes: "num_spikes", firing_rate: "rate_hz" };

// The units that there are and, after them, those that the decisions make, as columns of a list.
export function decisionColumns({ detail, made, labels, decided }) {
  const { figures, unit_ids: unitIds } = detail.pictures.overview;
  const madeUnit = (row) => made[row - unitIds.length];
  const extended = (figure) => ({
    ...figure, values: [...figure.values, ...made.map((unit) => unit[MADE_FIGURES[figure.name]] ?? NaN)],
  });
  const ofRow = (row) => (madeUnit(row) ? `= ${madeUnit(row).made_of}` : decided[row]);
  const labelsOfRow = (row) => labels[row] ?? [];
  const listed = Object.keys(LISTED).map((name) => figures.find((figure) => figure.name === name)).filter(Boolean);
  const others = figures.filter((figure) => !listed.includes(figure));
  return [
    idColumn([...unitIds, ...made.map((unit) => unit.name)]),
    {
      name: "decided", title: "decided", hint: "what was decided", className: "crsae-decided", value: (row) => [...labelsOfRow(row), ofRow(row)].join(" ").trim(),
      cells: (row) => [...labelsOfRow(row).flatMap((value) => [make("span", { class: "crsae-label" }, value), " "]), ofRow(row)],
    },
    ...listed.map((figure) => figureColumn(extended(figure), { isListed: true, label: LISTED[figure.name] })),
    ...others.map((figure) => figureColumn(extended(figure), { isListed: false })),
  ];
}

// The pairs of units that look most alike, to go through; `choose(units)` selects both.
export function pairList(choose, changed) {
  let shown = [];
  const chooseRow = (row) => {
    list.moveCursor(row);
    list.list.focus({ preventScroll: true });
    choose(shown[row].units);
  };
  const list = new GridList({
    label: "Pairs of similar units: arrows up and down select both", isMultiple: false, sort: { name: "similarity", isDown: true }, choose: chooseRow,
    changed,
  });
  list.list.style.maxHeight = "200px";
  const none = make("div", { class: "crsae-note" });
  const node = make("details", { class: "crsae-pairs", "data-needs": "pairs" }, make("summary", {}, "Similar units, to merge"), none, list.node);

  function show({ decided, detail, selected }, found, nameOf) {
    const pairs = found ?? [];
    shown = pairs;
    none.textContent = pairs.length ? "" : found ? "No two units look alike." : "They are compared …";
    list.node.classList.toggle("crsae-hidden", !pairs.length);
    const spikes = detail.pictures.overview.figures.find((figure) => figure.name === "num_spikes").values;
    const named = (row, place) => nameOf(pairs[row].units[place]);
    const unitColumn = (place, name, title) => ({
      name, title, value: (row) => named(row, place), rank: (row) => pairs[row].units[place],
      cells: (row) => [make("span", { class: "crsae-dot", style: `--unit-color: ${unitColor(pairs[row].units[place])}` }), named(row, place)],
    });
    const fate = (row) => pairs[row].units.map((unit) => decided[unit]).filter(Boolean).join("; ");
    const both = (row) => pairs[row].units.map((unit) => spikes[unit].toLocaleString("en-US")).join(" + ");
    list.show([
      { name: "similarity", title: "similarity", value: (row) => pairs[row].similarity, cells: (row) => [pairs[row].similarity.toFixed(2)] },
      unitColumn(0, "one", "unit"), unitColumn(1, "other", "and unit"),
      { name: "spikes", title: "spikes", value: (row) => pairs[row].units.reduce((sum, unit) => sum + spikes[unit], 0), cells: (row) => [both(row)] },
      { name: "decided", title: "decided", className: "crsae-decided", value: fate, cells: (row) => [fate(row)] },
    ], pairs.length, {
      content: [unitColor(0), pairs, decided], attributes: (row) => ({ "data-pair": pairs[row].units.map(nameOf).join("+") }),
      selected: new Set(pairs.flatMap(({ units }, row) => (units.join() === selected.join() ? [row] : []))),
    });
  }
  const keys = () => chooserRows((by) => { const row = list.neighbor(by); if (row >= 0) chooseRow(row); }, () => list.rows.length);
  return { node, list, show, keys };
}
