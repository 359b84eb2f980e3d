// Accuracy against MACs: a curve from which a size can be read off, by pointer, by touch or with the slider below it.

const PLOT = { height: 230, left: 46, right: 14, top: 30, bottom: 38 };

/** What a network of the curve is worth on the validation split: after recovery, where that was tried. */
function worth(point) {
  return Math.max(point.val, point.recovered ?? 0);
}

/** The most accurate network within some MACs; the leaner one of two that are alike. */
function best(points, macs) {
  let found = null;
  for (const point of points) {
    if (point.macs <= macs && (found === null || worth(point) > worth(found))) found = point;
  }
  return found;
}

/** Networks on the way down are tested before their recovery. */
function tested(point) {
  const when = worth(point) === point.val ? "test" : "test, unrecovered";
  return point.test === null ? null : [when, percent(point.test, 2)];
}

function frontSection(page) {
  if (page.tasks.every((task) => task.figures.test_accuracy === null)) return null;
  const lead =
    "Every dot is a network on the way down, by its accuracy on the validation pictures; the line is the best within so many MACs. " +
    "Move the slider, or touch the curve, to read off a size.";
  const cards = page.tasks.map((task, index) => frontCard(task, index, page));
  return section("front", "Other sizes", page.tasks.some((task) => task.front) ? lead : "", el("div", { class: "cards" }, ...cards));
}

function frontCard(task, index, page) {
  const card = el("div", { class: `card ${colour(index)}` });
  if (page.tasks.length > 1) card.append(nameOf(task, index));
  if (!task.front) {
    card.append(el("p", { class: "note" }, task.front_note));
    return card;
  }
  const total = page.backbone.macs;
  const chosen = task.front.points.find((point) => point.chosen) ?? task.front.points[0];
  const least = Math.ceil((100 * task.front.points[0].macs) / total);
  const most = Math.max(100, Math.ceil((100 * task.front.points[task.front.points.length - 1].macs) / total));
  const id = `size-${index}`;
  const slider = el("input", { type: "range", id, min: least, max: most, step: 1 });
  slider.value = String(Math.ceil((100 * chosen.macs) / total));
  const said = el("output", { for: id, class: "readout" });
  const limit = el("span", { class: "limit" });
  const plot = el("div", { class: "plot" });
  card.append(plot, el("label", { for: id, class: "slider" }, el("span", {}, "MACs at most"), limit), slider, said);
  let cursor = () => {};
  let macs = chosen.macs; // the slider stands at whole percents, a network that is pointed at need not
  const read = () => {
    limit.textContent = `${share(macs / total)} of the backbone\u2019s`;
    slider.setAttribute("aria-valuetext", limit.textContent);
    const point = best(task.front.points, macs);
    cursor(macs / total, point);
    said.replaceChildren(...readout(point, task, page));
  };
  const pick = (wanted) => {
    macs = wanted;
    slider.value = String(Math.ceil((100 * macs) / total));
    read();
  };
  slider.addEventListener("input", () => {
    macs = (Number(slider.value) / 100) * total;
    read();
  });
  drawn(plot, (width) => {
    const made = frontPlot(task, page, width, pick);
    cursor = made.cursor;
    plot.replaceChildren(made.root);
    read();
  });
  return card;
}

/** The figures of the network that was read off, and how to get it. */
function readout(point, task, page) {
  if (point === null) return [el("p", {}, "No network of this run is so small.")];
  const part = point.macs / page.backbone.macs;
  const rows = [
    ["MACs", `${millions(point.macs)} (${share(part)})`],
    ["validation", percent(worth(point), 2)],
    tested(point),
    ["blocks", `${point.blocks} of ${page.backbone.blocks.length}`],
    ["proxies", whole(point.proxies)],
    point.task_params === null ? null : ["task parameters", whole(point.task_params)],
  ];
  const list = rows.filter(Boolean).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  const goal = (Math.ceil(1000 * part) / 1000).toFixed(3).replace(/0+$/, "").replace(/\.$/, "");
  const command = point.chosen
    ? el("p", { class: "command" }, "This is the network in the delta.")
    : task.prune_command && el("p", { class: "command" }, "To make it: ", el("code", {}, `${task.prune_command} --macs ${goal}`));
  return [el("dl", {}, ...list), command].filter(Boolean);
}

/** Round steps that cut a span into at most `most` parts. */
function ticks(low, high, most) {
  const rough = (high - low) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * size).find((value) => value >= rough);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9); value * step <= high + step * 1e-9; value += 1) found.push(value * step);
  return { values: found, digits: Math.max(0, -Math.floor(Math.log10(100 * step) + 1e-9)) };
}

function scales(task, page, width) {
  const { points, teacher_val: teacher } = task.front;
  const seen = points.flatMap((point) => [point.val, worth(point)]).concat(teacher === null ? [] : [teacher]);
  const spread = Math.max(0.004, Math.max(...seen) - Math.min(...seen));
  const [low, high] = [Math.max(0, Math.min(...seen) - 0.15 * spread), Math.min(1, Math.max(...seen) + 0.15 * spread)];
  const end = Math.max(1, points[points.length - 1].macs / page.backbone.macs);
  const across = width - PLOT.left - PLOT.right;
  const down = PLOT.height - PLOT.top - PLOT.bottom;
  return {
    low,
    high,
    end,
    x: (part) => PLOT.left + (across * part) / end,
    y: (accuracy) => PLOT.top + (down * (high - accuracy)) / (high - low),
    part: (x) => Math.max(0, Math.min(end, ((x - PLOT.left) / across) * end)),
  };
}

function axes(at, width) {
  const group = svg("g", { class: "axes", "aria-hidden": "true" });
  const across = ticks(0, at.end, width < 420 ? 4 : 5);
  const up = ticks(at.low, at.high, 5);
  for (const value of up.values) {
    group.append(svg("line", { x1: PLOT.left, x2: width - PLOT.right, y1: at.y(value), y2: at.y(value), class: "rule" }));
    const place = { x: PLOT.left - 7, y: at.y(value) + 4, "text-anchor": "end" };
    group.append(svg("text", place, (100 * value).toFixed(up.digits)));
  }
  for (const value of across.values) {
    const place = { x: at.x(value), y: PLOT.height - PLOT.bottom + 16, "text-anchor": "middle" };
    group.append(svg("text", place, String(Math.round(100 * value))));
  }
  group.append(svg("text", { x: width - PLOT.right, y: PLOT.height - 5, "text-anchor": "end" }, "% of the backbone\u2019s MACs"));
  group.append(svg("text", { x: 0, y: 12 }, "validation accuracy, %"));
  return group;
}

function frontPlot(task, page, width, pick) {
  const { points, teacher_val: teacher } = task.front;
  const total = page.backbone.macs;
  const at = scales(task, page, width);
  const label = `${task.label}: accuracy on validation against MACs; arrow keys move from network to network`;
  const root = svg("svg", { width, height: PLOT.height, role: "group", "aria-label": label });
  const mark = svg("line", { y1: PLOT.top, y2: PLOT.height - PLOT.bottom, class: "cursor" });
  const ring = svg("circle", { r: 8, class: "ring" });
  root.append(svg("rect", { x: 0, y: 0, width, height: PLOT.height, class: "hit" }), axes(at, width));
  if (teacher !== null) {
    root.append(svg("line", { x1: PLOT.left, x2: width - PLOT.right, y1: at.y(teacher), y2: at.y(teacher), class: "teacher" }));
    root.append(teacherName(points, at, at.y(teacher), width));
  }
  root.append(svg("path", { d: staircase(points, total, at), class: "step", "aria-hidden": "true" }), mark, ring);
  const dots = points.map((point) => dot(point, at, total, page));
  root.append(...dots);
  roving(dots);
  dots.forEach((node, place) => node.addEventListener("focus", () => pick(points[place].macs)));
  const choose = (event) => pick(total * at.part(event.clientX - root.getBoundingClientRect().left));
  root.addEventListener("pointerdown", choose);
  root.addEventListener("pointermove", (event) => (event.buttons & 1) === 1 && choose(event));
  return { root, cursor: (part, point) => place(mark, ring, at, part, point, total) };
}

/** Above the line at the left, where the curve is far below it; else at the right, on the side where the curve is not. */
function teacherName(points, at, y, width) {
  const free = at.y(worth(points[0])) - y > 40;
  const last = at.y(Math.max(...points.map(worth)));
  const above = free || last >= y || y - last > 24;
  const place = free ? { x: PLOT.left + 4, "text-anchor": "start" } : { x: width - PLOT.right, "text-anchor": "end" };
  return svg("text", { ...place, y: y + (above ? -5 : 14), class: "teacher-name" }, "teacher");
}

function place(mark, ring, at, part, point, total) {
  for (const name of ["x1", "x2"]) mark.setAttribute(name, at.x(part));
  ring.setAttribute("visibility", point === null ? "hidden" : "visible");
  if (point === null) return;
  ring.setAttribute("cx", at.x(point.macs / total));
  ring.setAttribute("cy", at.y(worth(point)));
}

function staircase(points, total, at) {
  let d = "";
  let held = null;
  for (const point of points) {
    if (held !== null && worth(point) <= worth(held)) continue;
    const x = at.x(point.macs / total);
    d += held === null ? `M ${x} ${at.y(worth(point))}` : ` H ${x} V ${at.y(worth(point))}`;
    held = point;
  }
  return `${d} H ${at.x(at.end)}`;
}

function dot(point, at, total, page) {
  const x = at.x(point.macs / total);
  const group = svg("g", { role: "img", class: `stop${point.chosen ? " chosen" : ""}` });
  if (worth(point) !== point.val) {
    group.append(svg("line", { x1: x, x2: x, y1: at.y(point.val), y2: at.y(worth(point)), class: "rise" }));
    group.append(svg("circle", { cx: x, cy: at.y(point.val), r: 3, class: "before" }));
  }
  group.append(svg("circle", { cx: x, cy: at.y(worth(point)), r: 12, class: "hit" }));
  group.append(svg("circle", { cx: x, cy: at.y(worth(point)), r: point.chosen ? 5.5 : 4, class: "dot-mark" }));
  return detailed(group, point.chosen ? "the network in the delta" : "a network on the way down", [
    ["MACs", `${share(point.macs / total)}, ${millions(point.macs)}`],
    point.recovered === null ? null : ["validation before recovery", percent(point.val, 2)],
    ["validation", percent(worth(point), 2)],
    tested(point),
    ["blocks", `${point.blocks} of ${page.backbone.blocks.length}`],
    ["proxies", whole(point.proxies)],
  ]);
}
