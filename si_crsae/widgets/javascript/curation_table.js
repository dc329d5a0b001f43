import { make } from "./shared.js";
import { figureColumn, idColumn } from "./unit_columns.js";

const LISTED = { snr: "SNR", num_spikes: "spikes", firing_rate: "rate", expected_false_positive_rate: "false" };
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
