import { make, unpack } from "./shared.js";

const FORMATS = { svg: "as SVG, for drawing programs and papers", png: "as PNG" };

// Buttons that save what a view shows as a file: the kernel draws it with matplotlib, the browser keeps it.
export function offerPictures(view, model) {
  view.tools.append(...Object.entries(FORMATS).map(([format, says]) => make("button", {
    title: `Save the picture ${says}`, "aria-label": `Save the picture ${says}`, "data-needs": "picture", onclick: () => model.send({ kind: "picture", format }),
  }, format.toUpperCase())));
  function save() {
    const { name, type, content } = unpack(model.get("picture"));
    const address = URL.createObjectURL(new Blob([content], { type }));
    make("a", { href: address, download: name }).click();
    URL.revokeObjectURL(address);
  }
  model.on("change:picture", save);
  const { stop } = view;
  view.stop = () => {
    model.off("change:picture", save);
    stop();
  };
}
