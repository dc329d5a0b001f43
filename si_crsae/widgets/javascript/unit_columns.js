import { make, unitColor } from "./shared.js";

// A figure of a unit as it is read, without its unit of measurement: all of a column with as many digits.
export function formatFigure(figure, unit) {
  const value = figure.values[unit];
  if (!Number.isFinite(value)) return "–";
  if (figure.name === "num_spikes") return value.toLocaleString("en-US");
  if (figure.unit === "µm") return value.toFixed(0);
  if (figure.unit === "%") return value > 0 && value < 0.005 ? "< 0.01" : value.toFixed(2);
  return value.toFixed(figure.name === "snr" || figure.name === "atom_snr" ? 1 : 2);
}

export const figureTitle = (figure, label = figure.label) => (figure.unit ? `${label} (${figure.unit})` : label);

// Columns of lists of units, see `GridList`: the ids, with colors,
export const idColumn = (unitIds) => ({
  name: "id", title: "unit", className: "crsae-unit-name", value: (unit) => unitIds[unit], rank: (unit) => unit,
  cells: (unit) => [make("span", { class: "crsae-dot", style: `--unit-color: ${unitColor(unit)}` }), unitIds[unit]],
});

// and a figure, which lists that do not show it filter by.
export const figureColumn = (figure, { isListed = figure.is_listed, label = figure.label } = {}) => ({
  name: figure.name, title: figureTitle(figure, label), hint: figure.hint, isRising: figure.name === "depth", value: (unit) => figure.values[unit],
  ...(isListed ? { cells: (unit) => [formatFigure(figure, unit)] } : {}),
});
