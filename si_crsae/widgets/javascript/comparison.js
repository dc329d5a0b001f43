import { listenToKeys } from "./keys.js";
import { offerPictures } from "./pictures.js";
import { Requests, Surface, answers, counted, formatNumber, formatTime, frame, make, showTip, unitColor, unpack } from "./shared.js";
import { bestOf, differenceTable, unitTable } from "./comparison_table.js";
import { agreementOf, drawLags, drawMatrix, drawSnippet, drawTemplatePair, matrixLayout, percent } from "./comparison_pictures.js";

// What is listed, and what that is called where one sorting is true and where neither is.
const LIST_TITLES = {
  missed: ({ true: one, tested: other }) => `Spikes of the ${one} unit that the ${other} one lacks`,
  false: ({ true: one, tested: other }) => `Spikes of the ${other} unit that are none of the ${one} one`,
  matched: () => "Spikes of both",
};
const WIDE = 760;

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const matrixSurface = new Surface("Agreement matrix; arrow keys choose a pair of units, Page Up and Page Down follow the diagonal");
    const templateSurface = new Surface("Templates of both units at the contacts");
    const lagSurface = new Surface("Histogram of the lags of the matched spikes");
    const snippetSurface = new Surface("Traces and residual around the spike");
    const figures = make("table", { "aria-label": "What the two units share" });
    const pairTitle = make("div", { class: "crsae-pair", role: "status" });
    const details = make("div");
    const pictures = make("div", { style: "display: flex; flex-wrap: wrap; gap: 8px; margin-top: 6px" }, templateSurface.canvas, lagSurface.canvas);
    const spikeText = make("div", { role: "status", "data-part": "spike" });
    const snippetNote = make("div", { class: "crsae-note" });
    const summary = make("div", { class: "crsae-note", "data-part": "summary" });
    const counter = make("span", { "aria-live": "polite", "data-part": "counter", style: "min-width: 76px; text-align: center" });
    const table = unitTable((row) => { if (layout) choose(row, Math.max(bestOf(matrix, row), 0)); });
    const top = make("div", { style: "display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: flex-start" }, matrixSurface.canvas, details);
    let matrix = null;
    let data = null;
    let layout = null;
    let chosen = null;
    let wanted = null;

    const view = frame({ model, el, title: "Comparison, unit by unit", draw });
    offerPictures(view, model);
    const button = (text, title, act) => make("button", { title, "aria-label": title, "data-needs": "browse", onclick: () => data && act() }, text);
    const tabs = Object.keys(LIST_TITLES).map((listed) =>
      make("button", { role: "tab", "data-needs": "browse", "data-listed": listed, onclick: () => model.send({ kind: "browse", listed }) }, listed));
    const previous = button("⇤", "Previous spike of the list (,)", () => step(-1));
    const next = button("⇥", "Next spike of the list (.)", () => step(1));
    details.append(pairTitle, figures, pictures);
    const differences = make("div", { class: "crsae-wide" });
    view.body.append(differences, top, table.node,
      make("div", { style: "display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin-top: 8px" },
        make("span", { role: "tablist", "aria-label": "Which spikes", style: "display: flex; gap: 4px; margin-right: 12px" }, ...tabs),
        previous, counter, next),
      summary, spikeText, snippetSurface.canvas, snippetNote);

    const isOther = () => chosen && data && (matrix.rows[chosen.row] !== data.truth_unit || matrix.columns[chosen.column] !== data.tested_unit);

    function choose(row, column) {
      chosen = { row: Math.min(Math.max(row, 0), layout.rows - 1), column: Math.min(Math.max(column, 0), layout.columns - 1) };
      view.redraw();
      requests.send({ kind: "choose", truth_unit: matrix.rows[chosen.row], tested_unit: matrix.columns[chosen.column] });
    }

    // The next or the previous match: the diagonal.
    function follow(direction) {
      const last = Math.max(matrix.num_matched - 1, 0);
      const isOn = chosen.row === chosen.column && chosen.row <= last;
      const at = Math.min(Math.max((isOn ? chosen.row : chosen.row - Math.max(direction, 0)) + direction, 0), last);
      choose(at, at);
    }

    // From the spike that was asked for last, which may not be there yet.
    function step(change) {
      const number = data.num_listed[data.listed];
      const present = wanted ?? data.position;
      const position = Math.min(Math.max(present + change, 0), number - 1);
      if (!number || position === present) return;
      wanted = position;
      requests.send({ kind: "browse", listed: data.listed, position });
    }

    function draw(payload, colors, width) {
      if (!matrix) return;
      if (data !== payload && !requests.isBusy) {
        wanted = null;
        chosen = { row: matrix.rows.indexOf(payload.truth_unit), column: matrix.columns.indexOf(payload.tested_unit) };
      }
      data = payload;
      const isWide = width >= WIDE;
      const matrixWidth = isWide ? Math.min(Math.floor(0.46 * width), 560) : width;
      layout = matrixLayout(matrix, matrixWidth, isWide ? 520 : Math.max(width, 260));
      const usedWidth = isWide ? Math.min(matrixWidth, Math.ceil(Math.max(layout.box.right + 66, 300))) : width;
      drawMatrix(matrixSurface, matrix, layout, chosen, colors, view.root.classList.contains("dark"), usedWidth);
      const detailWidth = isWide ? width - usedWidth - 18 : width;
      details.style.width = `${detailWidth}px`;
      table.draw(matrix, chosen);
      describePair();
      if (!isOther()) {
        const height = Math.max(Math.min(layout.height - 90, 380), 230);
        const isRow = detailWidth >= 480;
        drawTemplatePair(templateSurface, data, colors, isRow ? Math.floor(0.56 * detailWidth) : detailWidth, height);
        drawLags(lagSurface, data, matrix.sides, colors, isRow ? Math.floor(0.44 * detailWidth) - 8 : detailWidth, isRow ? height : 190);
        describeSpike(colors, width);
      }
      view.summary.textContent = `units: ${matrix.rows.length} of ${matrix.truth_name}, ${matrix.columns.length} of ` +
        `${matrix.tested_name}; the same spike within ${formatNumber(matrix.delta_ms)} ms`;
    }

    // The figures of a pair that is still on its way are in the matrix already.
    function describePair() {
      const { row, column } = chosen;
      const common = matrix.counts[row * layout.columns + column];
      const [numTruth, numTested] = [matrix.num_truth[row], matrix.num_tested[column]];
      const unit = matrix.columns[column];
      const mark = make("span", { style: `display: inline-block; width: 9px; height: 9px; border-radius: 2px; background: ${unitColor(unit)}` });
      pairTitle.replaceChildren(
        make("strong", {}, `${matrix.truth_name} ${matrix.truth_ids[matrix.rows[row]]}`), " (dashed) and ", mark, " ",
        make("strong", {}, `${matrix.tested_name} ${matrix.tested_ids[unit]}`),
        isOther() && model.isStatic ? ": this page does not hold its templates and spikes" : "");
      const values = {
        matched: common, missed: numTruth - common, false: numTested - common,
        accuracy: percent(agreementOf(matrix, row, column)), recall: percent(common / numTruth), precision: percent(common / numTested),
      };
      const titles = Object.keys(values).map((name) => make("th", { scope: "col" }, matrix.sides[name]));
      figures.replaceChildren(make("tr", {}, ...titles), make("tr", {}, ...Object.values(values).map((value) => make("td", {}, String(value)))));
      pictures.style.visibility = isOther() && model.isStatic ? "hidden" : "visible";
    }

    function describeSpike(colors, width) {
      const number = data.num_listed[data.listed];
      for (const tab of tabs) {
        const isChosen = tab.dataset.listed === data.listed;
        tab.textContent = `${matrix.sides[tab.dataset.listed]} (${data.num_listed[tab.dataset.listed]})`;
        tab.title = LIST_TITLES[tab.dataset.listed](matrix.sides);
        tab.setAttribute("aria-selected", String(isChosen));
        tab.style.borderColor = isChosen ? colors.accent : "";
        tab.style.fontWeight = isChosen ? "600" : "";
      }
      counter.textContent = `${answers(model, "browse") ? "" : `${matrix.sides[data.listed]}: `}${number ? `${data.position + 1} of ${number}` : "none"}`;
      previous.disabled = data.position <= 0;
      next.disabled = data.position >= number - 1;
      summary.textContent = data.summary;
      const spike = data.spike;
      snippetSurface.canvas.classList.toggle("crsae-hidden", !spike);
      snippetNote.classList.toggle("crsae-hidden", !spike);
      if (!spike) {
        spikeText.textContent = `These units have no ${matrix.sides[data.listed]} spikes.`;
        return;
      }
      const segment = spike.segment_index ? `, segment ${spike.segment_index}` : "";
      spikeText.replaceChildren(make("strong", {}, `At ${formatTime(spike.time_s, 0.0001)}${segment}: `), spike.text.join(" "));
      const spacing = drawSnippet(snippetSurface, data, matrix, colors, width);
      const lines = `Lines: ${matrix.sides.true} units dashed, their ids below; ${matrix.sides.tested} units in their color, their ids above.`;
      snippetNote.textContent = spike.snippet
        ? `Channels where the two units are largest, rows ${formatNumber(spacing, 2)} noise sd apart. ${lines}`
        : `There are no traces to show. ${lines}`;
    }

    function cellAt(event) {
      if (!layout || !matrix) return null;
      const { x, y } = matrixSurface.locate(event);
      const column = Math.floor((x - layout.box.left) / layout.cell);
      const row = Math.floor((y - layout.box.top) / layout.cell);
      return row < 0 || column < 0 || row >= layout.rows || column >= layout.columns ? null : { row, column };
    }

    matrixSurface.canvas.addEventListener("pointermove", (event) => {
      const at = cellAt(event);
      matrixSurface.canvas.style.cursor = at ? "pointer" : "default";
      if (!at) return showTip(event, null);
      const common = matrix.counts[at.row * layout.columns + at.column];
      showTip(event, [
        `${matrix.truth_name} ${matrix.truth_ids[matrix.rows[at.row]]}: ${counted(matrix.num_truth[at.row], "spike")}`,
        `${matrix.tested_name} ${matrix.tested_ids[matrix.columns[at.column]]}: ${counted(matrix.num_tested[at.column], "spike")}`,
        `in common ${common}, agreement ${formatNumber(agreementOf(matrix, at.row, at.column))}`,
      ].join("\n"));
    });
    matrixSurface.canvas.addEventListener("pointerleave", (event) => showTip(event, null));
    matrixSurface.canvas.addEventListener("click", (event) => {
      const at = cellAt(event);
      if (at) choose(at.row, at.column);
    });
    listenToKeys(view, model, [
      {
        on: matrixSurface.canvas, title: "Matrix", rows: [
          [["ArrowLeft"], "the unit before, of the columns", () => choose(chosen.row, chosen.column - 1)],
          [["ArrowRight"], "the next one", () => choose(chosen.row, chosen.column + 1)],
          [["ArrowUp"], "the unit before, of the rows", () => choose(chosen.row - 1, chosen.column)],
          [["ArrowDown"], "the next one", () => choose(chosen.row + 1, chosen.column)],
          [["PageUp"], "the pair before, along the diagonal", () => follow(-1)],
          [["PageDown"], "the next pair", () => follow(1)],
          [["Home"], "the pair that agrees best", () => choose(0, 0)],
          [["End"], "the one that agrees worst", () => choose(Math.max(matrix.num_matched - 1, 0), Math.max(matrix.num_matched - 1, 0))],
        ],
      },
      {
        on: view.root, title: "Spikes", rows: [
          [["."], "next spike of the list", () => step(1), "browse"],
          [[","], "previous spike", () => step(-1), "browse"],
        ],
      },
    ], () => data && chosen);

    function readMatrix() {
      const packed = model.get("matrix");
      matrix = packed?.rows ? unpack(packed) : null;
      if (matrix) differences.replaceChildren(differenceTable(matrix));
      view.redraw();
    }
    model.on("change:matrix", readMatrix);
    readMatrix();
    return () => {
      model.off("change:matrix", readMatrix);
      view.stop();
    };
  },
};
