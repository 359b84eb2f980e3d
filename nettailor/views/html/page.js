// Puts the page together from the data that lies in it.

const LOW = 30; // blocks

function start() {
  const page = JSON.parse(document.getElementById("data").textContent);
  const root = document.getElementById("page");
  const [graph, front, matrix, pictures] = [graphSection(page), frontSection(page), matrixSection(page), mistakesSection(page)];
  const low = page.tasks.length === 1 && page.backbone.blocks.length <= LOW; // a low graph leaves room below it
  const left = el("div", { class: "stack" }, graph, low ? pictures : null);
  const right = el("div", { class: "stack" }, front, matrix, low ? null : pictures);
  const two = page.tasks.length === 1 && front !== null;
  const main = el("main", { class: two ? "two" : "one" }, left, right);
  if (front === null) main.append(el("p", { class: "note" }, page.tasks[0].front_note));
  const made = `nettailor ${page.version}. Accuracies are on test pictures unless they say otherwise; MACs are of one picture. This page is one file and loads nothing.`;
  root.append(header(page), figuresSection(page), main, el("footer", {}, made));
  startTooltip((node) => {
    const layer = node === null ? null : node.getAttribute("data-layer");
    for (const row of root.querySelectorAll(".labels [data-layer], .keepers [data-layer]")) {
      row.classList.toggle("on", layer !== null && row.getAttribute("data-layer") === layer);
    }
  });
}

start();
