// The confusion matrix of each task, and pictures that it got wrong.

const MOST_DRAWN = 250; // classes; of more only the pairs that are confused most often are listed
const MOST_PAIRS = 8;
const READABLE = 15; // pixels of a cell's side from which classes are named beside it
const COUNTED = 21; // pixels of a cell's side from which its number is written into it

function matrixSection(page) {
  if (page.tasks.every((task) => task.figures.test_accuracy === null)) return null;
  const cards = page.tasks.map((task, index) => matrixCard(task, index, page));
  const lead = page.tasks.some((task) => task.confusion)
    ? "Rows are classes, columns what their test pictures were taken for. Grey is right, colour is wrong; stronger is a larger part of the row."
    : "";
  return section("confusion", "What is taken for what", lead, el("div", { class: "cards" }, ...cards));
}

function matrixCard(task, index, page) {
  const card = el("div", { class: `card ${colour(index)}` });
  if (page.tasks.length > 1) card.append(nameOf(task, index));
  if (!task.confusion) {
    card.append(el("p", { class: "note" }, task.confusion_note));
    return card;
  }
  const { classes, cells } = task.confusion;
  const sums = classes.map(() => 0);
  for (const [row, , count] of cells) sums[row] += count;
  if (classes.length <= MOST_DRAWN) {
    const box = el("div", { class: "matrix" });
    card.append(box);
    drawn(box, (width) => box.replaceChildren(matrix(task, sums, width)));
  }
  card.append(pairs(classes, cells, sums));
  return card;
}

function matrix(task, sums, width) {
  const { classes, cells } = task.confusion;
  const count = classes.length;
  const longest = Math.max(...classes.map((name) => name.length));
  const room = Math.min(12, longest) * 7 + 30;
  const side = Math.min(40, (Math.min(width, 620) - room - 2) / count);
  const named = side >= READABLE;
  const margin = named ? room : 20;
  const cell = named ? side : Math.min(34, (Math.min(width, 480) - margin - 2) / count);
  const top = named ? (longest <= 3 ? 38 : room + 18) : 20;
  const right = (row, column) => row === column;
  const root = svg("svg", {
    width: Math.ceil(margin + cell * count + 2),
    height: Math.ceil(top + cell * count + 2),
    role: "group",
    class: cell >= COUNTED ? "counted" : "uncounted",
    "aria-label": `${task.label}: confusion matrix; arrow keys move from cell to cell`,
  });
  const most = Math.max(...cells.filter(([row, column]) => !right(row, column)).map(([row, , value]) => value / sums[row]), 1e-9);
  root.append(frame(classes, margin, top, cell, named, longest));
  const marks = cells.map(([row, column, value]) => {
    const part = value / sums[row];
    const at = { x: margin + column * cell, y: top + row * cell };
    const gap = cell > 6 ? 1 : 0;
    const group = svg("g", { role: "img", class: `stop ${right(row, column) ? "right" : "wrong"}` });
    const box = svg("rect", { x: at.x + gap, y: at.y + gap, width: cell - 2 * gap, height: cell - 2 * gap, rx: cell > 12 ? 2 : 0 });
    box.style.setProperty("--part", (right(row, column) ? 0.25 + 0.75 * part : 0.2 + 0.8 * Math.sqrt(part / most)).toFixed(3));
    group.append(box);
    if (cell >= COUNTED) {
      const place = { x: at.x + cell / 2, y: at.y + cell / 2 + 4, "text-anchor": "middle", "aria-hidden": "true" };
      group.append(svg("text", place, String(value)));
    }
    const title = right(row, column) ? `${classes[row]}, right` : `${classes[row]}, taken for ${classes[column]}`;
    return detailed(group, title, [["pictures", `${whole(value)} of ${whole(sums[row])}`], ["of its class", share(part)]]);
  });
  root.append(...marks);
  roving(marks);
  return root;
}

function frame(classes, margin, top, cell, named, longest) {
  const span = cell * classes.length;
  const group = svg("g", { class: "axes", "aria-hidden": "true" });
  group.append(svg("rect", { x: margin, y: top, width: span, height: span, class: "field" }));
  group.append(svg("text", { x: margin, y: 12 }, "taken for \u2192"));
  const side = { x: 0, y: 0, "text-anchor": "end", transform: `translate(12 ${top}) rotate(-90)` };
  group.append(svg("text", side, "class \u2192"));
  if (!named) return group;
  classes.forEach((name, place) => {
    const middle = top + (place + 0.5) * cell + 4;
    group.append(svg("text", { x: margin - 6, y: middle, "text-anchor": "end" }, beginning(name, 12)));
    const x = margin + (place + 0.5) * cell;
    const how =
      longest <= 3
        ? { x, y: top - 7, "text-anchor": "middle" }
        : { x: 0, y: 0, transform: `translate(${x + 4} ${top - 6}) rotate(-90)` };
    group.append(svg("text", how, beginning(name, 12)));
  });
  return group;
}

/** The pairs that are confused most often, as a table. */
function pairs(classes, cells, sums) {
  const wrong = cells.filter(([row, column]) => row !== column).sort((one, other) => other[2] - one[2]);
  if (!wrong.length) return el("p", { class: "note" }, "No test picture was taken for another class.");
  const head = ["class", "taken for", "pictures"].map((name) => el("th", { scope: "col" }, name));
  const rows = wrong.slice(0, MOST_PAIRS).map(([row, column, value]) => {
    const names = [classes[row], classes[column]].map((name) => el("td", {}, name));
    return el("tr", {}, ...names, el("td", { class: "number" }, `${whole(value)} of ${whole(sums[row])}`));
  });
  const left = wrong.length - rows.length;
  const more = left > 0 ? ` (${plural(left, "rarer pair")} left out)` : "";
  const caption = el("caption", {}, `Confused most often${more}`);
  return el("table", { class: "pairs" }, caption, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

function mistakesSection(page) {
  if (page.tasks.every((task) => task.figures.test_accuracy === null)) return null;
  const cards = page.tasks.map((task, index) => {
    const card = el("div", { class: `card ${colour(index)}` });
    if (page.tasks.length > 1) card.append(nameOf(task, index));
    if (task.mistakes_note) card.append(el("p", { class: "note" }, task.mistakes_note));
    else card.append(el("ul", { class: "mistakes" }, ...task.mistakes.map(mistake)));
    return card;
  });
  const lead = page.tasks.some((task) => task.mistakes.length)
    ? "A few test pictures; what each is, and what it was taken for. Pairs that are confused most often come first."
    : "";
  return section("mistakes", "Wrongly classified", lead, el("div", { class: "cards" }, ...cards));
}

function mistake({ name, true: truth, given, picture }) {
  const image = el("img", { src: picture, alt: `${name}: ${truth}, taken for ${given}`, title: name });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 56));
  const text = el("figcaption", {}, el("span", { class: "truth" }, truth), el("span", { class: "given" }, `\u2192 ${given}`));
  return el("li", {}, el("figure", {}, image, text));
}
