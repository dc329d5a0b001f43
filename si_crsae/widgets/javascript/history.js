import { GridList } from "./grid_list.js";
import { candidateColumns, countsTable, lifeList } from "./history_table.js";
import { chooserRows, listenToKeys } from "./keys.js";
import { offerPictures } from "./pictures.js";
import { Requests, Surface, frame, make } from "./shared.js";
import { drawWaveforms, templateLayout } from "./template_panels.js";

const LIST_HEIGHT = 320;
const PICTURE_HEIGHT = 260;
const PICTURE_WIDTH = 380;
const COLUMN_GAP = 12;
const WIDE = 820;
const NOT_IN_THE_SORTING = 'not "in the sorting"';

export default {
  render({ model, el }) {
    const requests = new Requests(model);
    const waveforms = new Surface("Template of the candidate, and of those because of which it went");
    waveforms.canvas.removeAttribute("tabindex");
    const notDrawn = make("div", { class: "crsae-note" });
    const title = make("h5", { role: "status" });
    const told = make("div");
    const counts = make("div", { class: "crsae-wide" });
    let data = null;
    let built = null;

    const view = frame({ model, el, title: "History of the units", draw });
    offerPictures(view, model);
    const list = new GridList({
      label: "Candidates: arrows up and down choose one", isMultiple: false, choose, sort: { name: "spikes", isDown: true }, changed: () => { built = null; view.redraw(); },
    });
    list.field.value = NOT_IN_THE_SORTING;
    const picture = make("div", {}, waveforms.canvas, notDrawn);
    const detail = make("section", { class: "crsae-row crsae-detail", "aria-label": "The chosen candidate" }, picture, make("div", { class: "crsae-told" }, title, told));
    view.body.append(counts, list.node, detail);

    function choose(row) {
      list.moveCursor(row);
      list.list.focus({ preventScroll: true });
      requests.send({ kind: "choose", candidate: row });
    }

    function draw(newData, colors, width) {
      data = newData;
      if (!requests.isBusy) list.cursor = data.chosen;
      list.list.style.maxHeight = `${LIST_HEIGHT}px`;
      if (built !== data) {
        const { overview, fate, because } = data;
        list.show(candidateColumns(data, data.num_units), overview.unit_ids.length, {
          content: [overview.unit_ids, fate, because], selected: new Set([data.chosen]), attributes: (row) => ({ "data-candidate": overview.unit_ids[row] }),
        });
        counts.replaceChildren(countsTable(data, (what, when) => list.search(`fate = "${what}" and when = "${when}"`)));
        told.replaceChildren(lifeList(data.life));
      }
      built = data;
      const kept = data.num_units;
      view.summary.textContent = `${kept} in the sorting, ${data.fate.length - kept} others looked at`;
      detail.classList.toggle("crsae-hidden", data.chosen < 0);
      if (data.chosen < 0) return;
      title.textContent = `${data.overview.unit_ids[data.chosen]}, largest on channel ${data.overview.channel_ids[data.channel[data.chosen]]}`;
      notDrawn.textContent = data.not_drawn;
      waveforms.canvas.classList.toggle("crsae-hidden", !data.drawn.length);
      const isWide = width >= WIDE;
      const pictureWidth = isWide ? PICTURE_WIDTH : width;
      Object.assign(picture.style, { width: `${pictureWidth}px` });
      Object.assign(told.parentNode.style, { width: `${isWide ? width - pictureWidth - COLUMN_GAP : width}px` });
      const layout = templateLayout(data, { width: pictureWidth, height: PICTURE_HEIGHT, isWhole: false, gain: 1, waveforms: data.atoms });
      drawWaveforms(waveforms.resize(pictureWidth, PICTURE_HEIGHT), layout, data, data.atoms, colors);
    }

    function step(by) {
      const row = list.neighbor(by);
      if (row >= 0) choose(row);
    }
    listenToKeys(view, model, [
      { on: list.list, title: "List of candidates", rows: () => chooserRows(step, () => list.rows.length) },
      {
        on: view.root, title: "List", rows: [
          [["f"], "filter the list", () => list.field.focus()],
          [["Escape"], "what is not in the sorting", () => list.search(NOT_IN_THE_SORTING)],
        ],
      },
    ], () => data && !data.empty);
    return () => view.stop();
  },
};
