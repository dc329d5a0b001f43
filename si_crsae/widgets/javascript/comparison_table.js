import { agreementOf } from "./comparison_pictures.js";
import { make, unitColor } from "./shared.js";

const inPercent = (value) => `${(100 * value).toFixed(1)} %`;

// The column of the unit that agrees best with that of a row; -1 where none has a spike in common with it.
export function bestOf(matrix, row) {
  let [best, highest] = [-1, 0];
  for (let column = 0; column < matrix.columns.length; column++) {
    const agreement = agreementOf(matrix, row, column);
    if (agreement > highest) [best, highest] = [column, agreement];
  }
  return best;
}

function figuresOf(matrix, row) {
  const column = bestOf(matrix, row);
  const common = column < 0 ? 0 : matrix.counts[row * matrix.columns.length + column];
  const numTested = column < 0 ? 0 : matrix.num_tested[column];
  return {
    row, column, name: row, matched: column, spikes: matrix.num_truth[row], missed: matrix.num_truth[row] - common, false: numTested - common,
    accuracy: column < 0 ? 0 : agreementOf(matrix, row, column), recall: common / Math.max(matrix.num_truth[row], 1),
    precision: numTested ? common / numTested : 0,
  };
}

// Every true unit with the one that agrees best, the worst first; a click on a head sorts, one on a row compares.
export function unitTable(choose) {
  const node = make("div", { class: "crsae-unit-list crsae-comparison", role: "region", tabindex: "0", "aria-label": "All units; the heads sort" });
  let sort = { name: "accuracy", isDown: false };
  let [shown, rows] = [null, []];
  const heads = (matrix) => ({
    name: matrix.truth_name, matched: matrix.tested_name, spikes: "spikes", accuracy: matrix.sides.accuracy, recall: matrix.sides.recall,
    precision: matrix.sides.precision, missed: matrix.sides.missed, false: matrix.sides.false,
  });

  function build(matrix) {
    const sign = sort.isDown ? -1 : 1;
    const order = matrix.rows.map((_, row) => figuresOf(matrix, row)).sort((one, other) => sign * (one[sort.name] - other[sort.name]) || one.row - other.row);
    const head = Object.entries(heads(matrix)).map(([name, text]) => make("th", {
      scope: "col", "aria-sort": sort.name === name ? (sort.isDown ? "descending" : "ascending") : "none",
    }, make("button", { title: `Sort by ${text}`, "data-sort": name, onclick: () => {
      sort = { name, isDown: sort.name === name && !sort.isDown };
      build(matrix);
    } }, text + (sort.name === name ? (sort.isDown ? " ▼" : " ▲") : ""))));
    rows = order.map((unit) => make("tr", { "data-row": unit.row, onclick: () => choose(unit.row) },
      make("td", {}, matrix.truth_ids[matrix.rows[unit.row]]),
      make("td", {}, ...(unit.column < 0 ? ["none"] : [
        make("span", { class: "crsae-dot", style: `--unit-color: ${unitColor(matrix.columns[unit.column])}` }), matrix.tested_ids[matrix.columns[unit.column]]])),
      make("td", {}, unit.spikes.toLocaleString("en-US")), make("td", {}, inPercent(unit.accuracy)), make("td", {}, inPercent(unit.recall)),
      make("td", {}, inPercent(unit.precision)), make("td", {}, unit.missed.toLocaleString("en-US")), make("td", {}, unit.false.toLocaleString("en-US"))));
    node.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
  }

  function draw(matrix, chosen) {
    if (shown !== matrix) build(matrix);
    shown = matrix;
    for (const row of rows) row.setAttribute("aria-selected", String(Number(row.dataset.row) === chosen.row));
  }
  return { node, draw };
}

// The parameters in which two runs differ.
export function differenceTable({ differences, sides, tested_name: one, truth_name: other }) {
  if (!differences.length) return make("span", {}, sides.true === other ? `${one} and ${other} have the same parameters.` : "");
  const rows = differences.map((difference) => make("tr", {},
    make("th", { scope: "row" }, make("code", {}, difference.name)), make("td", {}, difference.tested), make("td", {}, difference.true)));
  return make("table", { "aria-label": "Parameters that differ" },
    make("thead", {}, make("tr", {}, ...["parameter", one, other].map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows));
}
