// Elements, numbers as text, and the colour of each task. Text is always set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8; // --task-0 .. --task-7 of the style sheet

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

/** An HTML element; children are nodes, or strings that become text. */
function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function percent(part, digits = 1) {
  return `${(100 * part).toFixed(digits)} %`;
}

/** A part of something as a whole number of percent, or with a decimal where it is small. */
function share(part) {
  return percent(part, part > 0 && part < 0.0995 ? 1 : 0);
}

function points(difference) {
  const value = (100 * difference).toFixed(2);
  return `${difference >= 0 ? "+" : "\u2212"}${value.replace("-", "")} points`;
}

function whole(count) {
  return count.toLocaleString("en-US");
}

/** 859392 as "0.86 M". */
function millions(count) {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} G`;
  return `${(count / 1e6).toFixed(count >= 1e7 ? 1 : count >= 1e4 || count === 0 ? 2 : 3)} M`;
}

function bytes(count) {
  return count >= 2 ** 20 ? `${(count / 2 ** 20).toFixed(1)} MiB` : `${Math.round(count / 1024)} KiB`;
}

function plural(count, one, many = `${one}s`) {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

function shape(sides) {
  return sides.join(" \u00d7 ");
}

/** The end of a text that is too long, which tells one block of a model from another. */
function ending(text, most) {
  return text.length > most ? `\u2026${text.slice(text.length - most + 1)}` : text;
}

/** The beginning of a text that is too long. */
function beginning(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}\u2026` : text;
}

function colour(index) {
  return `task-${index % COLOURS}`;
}

/** One of the page's parts: a heading and what is below it. */
function section(id, title, lead, ...children) {
  const heading = el("h2", { id: `${id}-title` }, title);
  const text = lead ? el("p", { class: "lead" }, lead) : null;
  return el("section", { id, "aria-labelledby": heading.id }, heading, text, ...children);
}

/** The name of a task with its colour beside it. */
function nameOf(task, index, tag = "h3") {
  return el(tag, { class: `name ${colour(index)}` }, el("span", { class: "swatch", "aria-hidden": "true" }), task.label);
}

/** Call `draw(width)` now and whenever the width of `box` changes. */
function drawn(box, draw) {
  let last = 0;
  new ResizeObserver(() => {
    const width = Math.floor(box.clientWidth);
    if (width > 0 && width !== last) {
      last = width;
      draw(width);
    }
  }).observe(box);
}
