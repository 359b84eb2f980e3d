// The block graph: a row for each block of the backbone, a column for each task, the same scale for all of them.
//
//   label | stem        [==]            grey: the backbone's own, shared by all tasks
//   label | block 1     [====]\         coloured: what the task adds; an arc leads from the activation that it reads
//   label | block 2     [====] )        to the layer that it arrives at
//   label | head         [=]/           width: MACs; opacity: gate; dashed: removed

const FAINTEST = 0.3; // opacity of a path whose gate is 0

function opacity(gate) {
  return FAINTEST + (1 - FAINTEST) * Math.min(1, Math.abs(gate));
}

function rowHeight(depth) {
  return depth <= 20 ? 34 : depth <= 40 ? 28 : 23;
}

/** The rows of the drawing, stem and head included. */
function layers(backbone) {
  const blocks = backbone.blocks.map((block, place) => ({ ...block, layer: place + 1 }));
  const stem = { name: "stem", shape: backbone.stem_shape, macs: backbone.stem_macs, layer: 0 };
  return [stem, ...blocks, { name: "head", shape: null, macs: null, layer: blocks.length + 1 }];
}

/** Where lines and boxes lie in a column that is `width` pixels wide. */
function geometry(width, backbone, tasks) {
  const spans = ({ graph }) => [
    ...graph.paths.map((path) => path.target - path.source),
    ...graph.top_reads.map((source) => graph.depth + 1 - source),
  ];
  const longest = Math.max(1, ...tasks.flatMap(spans));
  const box = Math.max(22, Math.min(150, width * 0.42));
  const spine = Math.round(box / 2 + Math.max(6, (width - box) * 0.16));
  const room = width - spine - 12 - box / 2;
  const step = Math.max(3, Math.min(40, (room - 6) / longest));
  const most = Math.max(1, backbone.stem_macs, ...backbone.blocks.map((block) => block.macs));
  const row = rowHeight(backbone.blocks.length);
  return {
    row,
    box,
    spine,
    wide: (macs, least) => Math.max(least, (box * macs) / most),
    node: (layer) => row * (layer + 1),
    bulge: (span) => box / 2 + 8 + step * Math.min(span, longest) - step / 2,
  };
}

/** Block graphs of all tasks, and which of them keep each block. */
function graphSection(page) {
  const { backbone, tasks } = page;
  const rows = layers(backbone);
  const many = tasks.length > 1;
  const height = rowHeight(backbone.blocks.length);
  const labels = el("div", { class: "labels" }, ...rows.map((row, place) => labelRow(row, rows[place - 1], height)));
  const grid = el("div", { class: `graph ${many ? "many" : "one"}` });
  grid.append(el("div", { class: "corner" }, many ? "block" : ""));
  if (many) grid.append(el("div", { class: "corner kept-by" }, "kept by"));
  tasks.forEach((task, index) => grid.append(el("div", { class: "column-head" }, nameOf(task, index))));
  grid.append(labels);
  if (many) grid.append(el("div", { class: "keepers" }, ...rows.map((row) => keepers(row, backbone, tasks, height))));
  const all = `repeat(${tasks.length}, minmax(${many ? 70 : 150}px, 1fr))`;
  grid.style.gridTemplateColumns = many ? `max-content max-content ${all}` : `max-content ${all}`;
  tasks.forEach((task, index) => {
    const column = el("div", { class: `column ${colour(index)}` });
    grid.append(column);
    drawn(column, (width) => column.replaceChildren(taskGraph(task, page, width)));
  });
  const scroller = el("div", { class: "scroller", role: "region", "aria-label": "block graphs", tabindex: "0" }, grid);
  return section("graph", "What is kept", keptText(page), legend(tasks), scroller);
}

function labelRow(row, above, height) {
  const stage = above && row.shape && above.shape && shape(row.shape) !== shape(above.shape);
  const node = el(
    "div",
    { class: `label${stage ? " stage" : ""}`, "data-layer": row.layer, title: row.name },
    el("span", { class: "block" }, ending(row.name, 18)),
    el("span", { class: "shape" }, row.shape && (stage || row.layer === 0) ? shape(row.shape) : ""),
    el("span", { class: "macs" }, row.macs === null ? "" : millions(row.macs)),
  );
  node.style.height = `${height}px`;
  return node;
}

function keeps(task, layer) {
  return task.graph.paths.find((path) => path.target === layer && path.form === "universal") ?? null;
}

/** Whether a layer, 0 for the stem, is the task's own copy of it. */
function owns(graph, layer) {
  return graph.copied_from !== null && layer >= graph.copied_from;
}

function sharesBlock(task, layer) {
  return !owns(task.graph, layer) && keeps(task, layer) !== null;
}

/** How many of the kept blocks are the task's own copies. */
function copied(graph) {
  return graph.paths.filter((path) => path.form === "universal" && owns(graph, path.target)).length;
}

/** A dot for each task: filled where it keeps the shared block. */
function keepers(row, backbone, tasks, height) {
  const inside = row.layer >= 1 && row.layer <= backbone.blocks.length;
  const dots = tasks.map((task, index) => {
    const kept = inside && sharesBlock(task, row.layer);
    return el("span", { class: `dot ${colour(index)}${kept ? " kept" : ""}` });
  });
  const names = tasks.filter((task) => sharesBlock(task, row.layer)).map((task) => task.label);
  const node = el("div", { class: "keeper", "data-layer": row.layer }, ...(inside ? dots : []));
  if (inside) {
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", `${row.name}: kept by ${names.join(", ") || "none"}`);
  }
  node.style.height = `${height}px`;
  return node;
}

function taskGraph(task, page, width) {
  const { backbone } = page;
  const at = geometry(width, backbone, page.tasks);
  const depth = backbone.blocks.length;
  const height = at.row * (depth + 2);
  const root = svg("svg", { width, height, role: "group", "aria-label": `${task.label}: block graph; arrow keys move` });
  const arcs = [];
  const stops = [ends(task, page, at, 0)];
  const alive = new Set([0, ...task.graph.paths.map((path) => path.target)]);
  root.append(spine(task, at, depth, alive));
  for (let layer = 1; layer <= depth; layer += 1) {
    stops.push(blockBox(task, backbone, layer, at));
    for (const path of task.graph.paths) {
      if (path.target !== layer || path.form === "universal") continue;
      const arc = proxyArc(path, backbone, at);
      arcs.push(arc);
      stops.push(arc);
    }
  }
  for (const source of beside(task.graph)) {
    const arc = headArc(source, task, backbone, at);
    arcs.push(arc);
    stops.push(arc);
  }
  stops.push(ends(task, page, at, depth + 1));
  root.append(...stops.filter((stop) => !arcs.includes(stop)), ...arcs, nodes(at, depth, alive));
  roving(stops);
  return root;
}

/** Where a block is kept, the line that leads through it; dotted where nothing flows. */
function spine(task, at, depth, alive) {
  const group = svg("g", { "aria-hidden": "true" });
  for (let layer = 1; layer <= depth; layer += 1) {
    const flows = keeps(task, layer) !== null;
    const ys = { y1: at.node(layer - 1), y2: at.node(layer) };
    group.append(svg("line", { x1: at.spine, x2: at.spine, ...ys, class: flows ? "flow" : "no-flow" }));
  }
  group.append(svg("line", { x1: at.spine, x2: at.spine, y1: 0.5 * at.row, y2: at.node(0), class: "flow" }));
  const from = at.node(task.graph.depth);
  if (task.graph.depth < depth) {
    const out = at.spine - at.box / 2 - 4;
    const d = `M ${at.spine} ${from} H ${out} V ${at.node(depth)} H ${at.spine}`;
    group.append(svg("path", { d, class: "flow", fill: "none" }));
  }
  group.append(svg("line", { x1: at.spine, x2: at.spine, y1: at.node(depth), y2: at.node(depth) + 0.5 * at.row, class: "flow" }));
  return group;
}

function nodes(at, depth, alive) {
  const group = svg("g", { "aria-hidden": "true" });
  for (let layer = 0; layer <= depth; layer += 1) {
    const kind = alive.has(layer) ? "node" : "node dead";
    group.append(svg("circle", { cx: at.spine, cy: at.node(layer), r: 2.6, class: kind }));
  }
  return group;
}

function bar(at, row, macs, look, attributes) {
  const wide = at.wide(macs, 8);
  const inset = at.row > 25 ? 6 : 4;
  const place = { x: at.spine - wide / 2, y: row * at.row + inset, width: wide, height: at.row - 2 * inset, rx: 3 };
  const hit = { x: 0, y: row * at.row, width: at.spine + at.box / 2 + 4, height: at.row, class: "hit" };
  const group = svg("g", { role: "img", class: "stop", "data-layer": row });
  const back = svg("rect", { ...place, class: "back" }); // what lies below must not shine through a faint block
  group.append(svg("rect", hit), back, svg("rect", { ...place, class: look, ...attributes }));
  return group;
}

function blockBox(task, backbone, layer, at) {
  const block = backbone.blocks[layer - 1];
  const path = keeps(task, layer);
  const beyond = layer > task.graph.depth;
  if (path === null) {
    const node = bar(at, layer, block.macs, "gone", {});
    const why = beyond ? "cut off: the classifier reads an earlier activation" : "removed";
    return detailed(node, `${block.name}, universal block ${layer}`, [
      ["kept", why],
      ["output", shape(block.shape)],
      ["MACs in the backbone", millions(block.macs)],
    ]);
  }
  const own = owns(task.graph, layer);
  const node = bar(at, layer, path.macs, own ? "own" : "universal", { "fill-opacity": opacity(path.gate) });
  const owned = own ? "this task's own copy" : "the backbone's, frozen";
  return detailed(node, `${block.name}, universal block ${layer}`, [
    ["weights", owned],
    ["gate", path.gate.toFixed(2)],
    ["MACs", millions(path.macs)],
    ["output", shape(block.shape)],
    path.shared > 0 ? ["shared parameters", whole(path.shared)] : null,
    path.own > 0 ? ["this task's parameters", whole(path.own)] : null,
  ]);
}

function proxyArc(path, backbone, at) {
  const [top, bottom] = [at.node(path.source), at.node(path.target)];
  const span = path.target - path.source;
  const reach = at.spine + (4 / 3) * at.bulge(span);
  const lift = Math.min(8, 0.2 * (bottom - top));
  const d = `M ${at.spine} ${top} C ${reach} ${top + lift} ${reach} ${bottom - lift} ${at.spine} ${bottom}`;
  const group = svg("g", { role: "img", class: "stop arc", "data-layer": path.target });
  const width = Math.min(14, at.wide(path.macs, 1.8)).toFixed(2);
  group.append(svg("path", { d, class: "hit-line" }));
  group.append(svg("path", { d, class: "proxy", "stroke-width": width, "stroke-opacity": opacity(path.gate) }));
  return detailed(group, `proxy ${path.key}: from ${activation(path.source, backbone)} to ${backbone.blocks[path.target - 1].name}`, [
    ["form", path.form],
    ["gate", path.gate.toFixed(2)],
    ["MACs", millions(path.macs)],
    ["this task's parameters", whole(path.own)],
  ]);
}

/** Activations that the head reads beside the last one: new units read them. */
function beside(graph) {
  return graph.top_reads.filter((source) => source !== graph.depth);
}

function activation(number, backbone) {
  return number === 0 ? "the stem" : backbone.blocks[number - 1].name;
}

/** From an activation past the blocks behind it into the head, where new units read it. */
function headArc(source, task, backbone, at) {
  const depth = backbone.blocks.length;
  const [top, bottom] = [at.node(source), at.row * (depth + 1.5)];
  const reach = at.spine + (4 / 3) * at.bulge(depth + 1 - source);
  const end = at.spine + at.wide(task.graph.head_macs, 8) / 2;
  const d = `M ${at.spine} ${top} C ${reach} ${top + 8} ${reach} ${bottom} ${end} ${bottom}`;
  const group = svg("g", { role: "img", class: "stop arc", "data-layer": depth + 1 });
  group.append(svg("path", { d, class: "hit-line" }), svg("path", { d, class: "proxy", "stroke-width": 1.8 }));
  return detailed(group, `new units in the head: they read ${activation(source, backbone)}`, [["head", task.graph.top]]);
}

/** Stem and head: the two ends that every network has. The classifier in the head is the task's own. */
function ends(task, page, at, row) {
  const graph = task.graph;
  if (row === 0) {
    const node = bar(at, 0, page.backbone.stem_macs, owns(graph, 0) ? "own" : "universal", { rx: 8 });
    return detailed(node, "stem", [
      ["weights", owns(graph, 0) ? "this task's own copy" : "the backbone's, frozen"],
      ["MACs", millions(page.backbone.stem_macs)],
      ["output", shape(page.backbone.stem_shape)],
      graph.stem_own > 0 ? ["this task's parameters", whole(graph.stem_own)] : null,
    ]);
  }
  const node = bar(at, row, graph.head_macs, "own", { rx: 8 });
  const last = graph.depth === row - 1 ? "the last activation" : `the activation of block ${graph.depth}`;
  const others = beside(graph).map((source) => activation(source, page.backbone));
  return detailed(node, "head, with this task's classifier", [
    graph.top ? ["made of", graph.top] : null,
    ["classes", whole(task.classes)],
    ["reads", others.length ? `${last}, and ${others.join(", ")}` : last],
    ["MACs", millions(graph.head_macs)],
    ["this task's parameters", whole(graph.head_own)],
  ]);
}

/** What is kept, in a sentence. */
function keptText({ backbone, tasks }) {
  const depth = backbone.blocks.length;
  if (tasks.length === 1) {
    const [{ graph, figures, label }] = tasks;
    const proxies = figures.proxies ? ` and ${plural(figures.proxies, "proxy", "proxies")}` : "";
    const own = copied(graph);
    const some = own === figures.blocks ? "every one of them a copy" : `${own} of them ${own === 1 ? "a copy" : "copies"}`;
    const copies = own ? `, ${some} of its own` : "";
    return `${label} keeps ${figures.blocks} of ${plural(depth, "universal block")}${proxies}${copies}.${headText(tasks)} Data flows from top to bottom.`;
  }
  const sharing = tasks.filter((task) => task.graph.copied_from !== 0);
  const alone = tasks.filter((task) => task.graph.copied_from === 0).map((task) => task.label);
  const partly = sharing.filter((task) => copied(task.graph)).map((task) => {
    const from = backbone.blocks[task.graph.copied_from - 1].name;
    return ` \u201c${task.label}\u201d has copies of its own from ${from} on.`;
  });
  const counts = backbone.blocks.map((_, place) => sharing.filter((task) => sharesBlock(task, place + 1)).length);
  const all = counts.filter((count) => count === sharing.length && count > 0).length;
  const none = counts.filter((count) => count === 0).length;
  const parts = `${all} kept by all, ${depth - all - none} by some, ${none} by none`;
  const quoted = alone.map((label) => `\u201c${label}\u201d`).join(", ");
  const verbs = alone.length === 1 ? ["has copies of its", "shares"] : ["have copies of their", "share"];
  const own = alone.length ? ` ${quoted} ${verbs[0]} own and ${verbs[1]} nothing.` : "";
  const whose = alone.length ? ` of the ${plural(sharing.length, "network")} that share it` : "";
  return `Of the backbone's ${plural(depth, "universal block")}, ${parts}${whose}.${own}${partly.join("")}${headText(tasks)} Data flows from top to bottom.`;
}

/** What is in a head beside a classifier: new units, or a kept source classifier. */
function headText(tasks) {
  const whose = (label) => (tasks.length === 1 ? "Its head" : `The head of \u201c${label}\u201d`);
  const made = tasks.filter((task) => task.graph.top !== "");
  return made.map((task) => ` ${whose(task.label)}: ${task.graph.top}.`).join("");
}

function legend(tasks) {
  const sample = (look, text) =>
    el("li", {}, svg("svg", { width: 30, height: 14, "aria-hidden": "true" }, look), text);
  const rect = (kind, more = {}) => svg("rect", { x: 3, y: 1, width: 24, height: 12, rx: 3, class: kind, ...more });
  const copies = tasks.some((task) => copied(task.graph));
  const head = tasks.some((task) => task.graph.top !== "") ? "head" : "classifier";
  const box = el(
    "ul",
    { class: "legend task-0", "aria-label": "legend" },
    sample(rect("universal"), "universal block, shared"),
    sample(svg("path", { d: "M 3 1 C 30 3 30 11 3 13", class: "proxy", "stroke-width": 2.5 }), "proxy, this task\u2019s"),
    sample(rect("own", { rx: 6 }), copies ? `the task\u2019s own copy or ${head}` : `the task\u2019s ${head}`),
    sample(rect("gone"), "removed"),
    sample(svg("g", {}, rect("universal", { "fill-opacity": 0.35, width: 12 }), rect("universal", { x: 15, width: 12 })), "fainter: smaller gate"),
    sample(svg("g", {}, rect("universal", { width: 6 }), rect("universal", { x: 11, width: 17 })), "wider: more MACs"),
  );
  return box;
}
