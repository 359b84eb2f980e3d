// The top of the page: which backbone, which tasks, and their figures.

function header(page) {
  const { backbone, tasks } = page;
  const title = tasks.length === 1 ? tasks[0].label : `${tasks.length} networks over one backbone`;
  const whose = `${backbone.name} \u00b7 ${plural(backbone.blocks.length, "universal block")} \u00b7 ${millions(backbone.macs)} MACs at ${backbone.input_size} px \u00b7 ${millions(backbone.params)} parameters`;
  const about = tasks.length === 1 ? el("p", { class: "about" }, about1(tasks[0])) : null;
  return el("header", {}, el("p", { class: "eyebrow" }, "nettailor"), el("h1", {}, title), el("p", { class: "backbone" }, whose), about);
}

function about1(task) {
  const seed = task.seed === null ? "" : `, seed ${task.seed}`;
  return `${plural(task.classes, "class", "classes")}, method ${task.method}${seed}`;
}

function figuresSection(page) {
  const made = page.tasks.length === 1 ? tiles(page.tasks[0], page.backbone) : table(page);
  const node = el("section", { id: "figures", "aria-label": "figures" }, made);
  if (page.shared) node.append(el("p", { class: "lead weight" }, weight(page)));
  return node;
}

function tiles(task, backbone) {
  const made = figures(task, backbone).map(([name, value, more]) =>
    el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, el("span", { class: "value" }, value), el("span", { class: "more" }, more))),
  );
  return el("dl", { class: "tiles" }, ...made);
}

/** Rows of [name, value, what it is to be compared with]; unknown figures are left out. */
function figures({ figures: own, graph }, backbone) {
  const rows = [];
  if (own.test_accuracy !== null) {
    const than = own.teacher_accuracy;
    const more = than === null ? `${whole(own.test_pictures)} pictures` : `${points(own.test_accuracy - than)} to the teacher\u2019s ${percent(than, 2)}`;
    rows.push(["test accuracy", percent(own.test_accuracy, 2), more]);
  }
  rows.push(["MACs", share(own.macs / backbone.macs), `${millions(own.macs)} of ${millions(backbone.macs)}`]);
  const copies = copied(graph);
  const some = copies === own.blocks ? "" : `${copies} of them `;
  const proxies = copies ? `${some}copies of its own` : `and ${plural(own.proxies, "proxy", "proxies")}`;
  rows.push(["universal blocks", `${own.blocks} of ${backbone.blocks.length}`, proxies]);
  rows.push(["task parameters", share(own.task_params / backbone.params), `${whole(own.task_params)}, delta ${bytes(own.task_bytes)}`]);
  if (own.latency_ms !== null) {
    const than = own.teacher_latency_ms;
    rows.push(["per picture", `${own.latency_ms.toFixed(2)} ms`, than === null ? "folded" : `teacher ${than.toFixed(2)} ms, both folded`]);
  }
  return rows;
}

/** A row for each figure, a column for each task. */
function table({ tasks, backbone }) {
  const head = tasks.map((task, index) => el("th", { scope: "col" }, nameOf(task, index, "span"), el("span", { class: "more" }, about1(task))));
  const columns = tasks.map((task) => new Map(figures(task, backbone).map(([name, ...rest]) => [name, rest])));
  const names = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  const rows = names.map((name) =>
    el("tr", {}, el("th", { scope: "row" }, name), ...columns.map((column) => {
      const [value, more] = column.get(name) ?? ["\u2013", ""];
      return el("td", {}, el("span", { class: "value" }, value), el("span", { class: "more" }, more));
    })),
  );
  const inner = el("table", { class: "compare" }, el("thead", {}, el("tr", {}, el("td"), ...head)), el("tbody", {}, ...rows));
  return el("div", { class: "scroller", role: "region", "aria-label": "figures of all networks", tabindex: "0" }, inner);
}

function weight({ shared, tasks }) {
  const together = shared.union + shared.deltas;
  const rest = shared.private === null ? "" : ` Each folded into a network of its own, they are ${bytes(shared.private)}.`;
  return `On a device: the parts of the backbone that some of them read, ${bytes(shared.union)} of ${bytes(shared.backbone)}, and ${plural(tasks.length, "delta")} of ${bytes(shared.deltas)} together: ${bytes(together)}.${rest}`;
}
