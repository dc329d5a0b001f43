import { formatNumber, make, unitColor } from "./shared.js";

const FATES = { kept: "in the sorting", merged: "merged", dropped: "dropped", refused: "refused" };

// What a list of candidates shows of each.
export function candidateColumns({ overview, fate, when, channel, num_events: events, because, measured }, numUnits) {
  const depth = (row) => overview.locations[2 * channel[row] + 1];
  return [
    {
      name: "id", title: "candidate", hint: "the order in which they went", className: "crsae-unit-name", value: (row) => overview.unit_ids[row], rank: (row) => row,
      cells: (row) => [...(row < numUnits ? [make("span", { class: "crsae-dot", style: `--unit-color: ${unitColor(row)}` })] : []), overview.unit_ids[row]],
    },
    { name: "fate", title: "fate", className: "crsae-left", value: (row) => FATES[fate[row]], cells: (row) => [FATES[fate[row]]] },
    { name: "when", title: "when", className: "crsae-left", value: (row) => when[row], cells: (row) => [when[row]] },
    { name: "channel", title: "channel", value: (row) => overview.channel_ids[channel[row]], cells: (row) => [overview.channel_ids[channel[row]]] },
    { name: "depth", title: "depth (µm)", isRising: true, value: depth, cells: (row) => [formatNumber(depth(row), 4)] },
    { name: "spikes", title: "spikes", hint: "its spikes then, or the peaks of its cluster", value: (row) => events[row], cells: (row) => [events[row].toLocaleString("en-US")] },
    {
      name: "because", title: "because", className: "crsae-left crsae-because", value: (row) => because[row],
      cells: (row) => [because[row], make("span", { class: "crsae-summary" }, ` (${measured[row]})`)],
    },
  ];
}

// How often what was decided in which round; a click shows these only.
export function countsTable({ rounds, counts }, chooseWhat) {
  const head = rounds.map((name) => make("th", { scope: "col" }, name));
  const body = Object.entries(counts).filter(([, numbers]) => numbers.some(Boolean)).map(([what, numbers]) => make("tr", {},
    make("th", { scope: "row" }, what), ...numbers.map((number, place) => make("td", {}, ...(number && FATES[what] ? [make("button", {
      title: `Show what was ${what} ${rounds[place]}`, onclick: () => chooseWhat(FATES[what], rounds[place]),
    }, String(number))] : [number ? String(number) : ""])))));
  return make("table", { "aria-label": "Decisions by round" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "decided"), ...head)), make("tbody", {}, ...body));
}

// The decisions about a candidate and those that it came of, the earliest first.
export const lifeList = (life) => make("ol", { class: "crsae-life" }, ...life.map((event) => make("li", {},
  make("strong", {}, `${event.when}: ${event.what}`), `: ${event.because} `,
  make("span", { class: "crsae-summary" }, `(${event.measured})`), event.helps ? make("div", { class: "crsae-note" }, `If that is wrong: ${event.helps}.`) : "")));
