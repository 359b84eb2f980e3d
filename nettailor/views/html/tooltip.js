// Details of what the pointer is on, a finger has touched or the keyboard has reached; and the arrow keys.

const DETAILS = new WeakMap();

/** Give a node a name for screen readers, and details that are shown beside it: rows of [name, value]. */
function detailed(node, title, rows) {
  const known = rows.filter((row) => row !== null);
  node.setAttribute("aria-label", [title, ...known.map(([name, value]) => `${name}: ${value}`)].join(", "));
  node.classList.add("has-details");
  DETAILS.set(node, { title, rows: known });
  return node;
}

/** Make a group one stop of the Tab key; arrow keys, Home and End move within it, in the order of `nodes`. */
function roving(nodes) {
  nodes.forEach((node, place) => {
    node.setAttribute("tabindex", place === 0 ? "0" : "-1");
    node.addEventListener("focus", () => {
      for (const other of nodes) other.setAttribute("tabindex", other === node ? "0" : "-1");
    });
    node.addEventListener("keydown", (event) => {
      const to = { ArrowDown: place + 1, ArrowRight: place + 1, ArrowUp: place - 1, ArrowLeft: place - 1 }[event.key];
      const goal = event.key === "Home" ? 0 : event.key === "End" ? nodes.length - 1 : to;
      if (goal === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      nodes[Math.max(0, Math.min(nodes.length - 1, goal))].focus();
    });
  });
}

/** Show details on hover, focus and touch; `mark(node or null)` is told what they are of. */
function startTooltip(mark) {
  const box = document.getElementById("tooltip");
  let shown = null;

  function show(node, x, y) {
    const { title, rows } = DETAILS.get(node);
    const list = el("dl", {}, ...rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    box.replaceChildren(el("strong", {}, title), ...(rows.length ? [list] : []));
    box.hidden = false;
    const area = node.getBoundingClientRect();
    const size = box.getBoundingClientRect();
    const wide = document.documentElement.clientWidth;
    const tall = window.innerHeight;
    const left = (x ?? area.left + area.width / 2) + 14;
    const top = (y ?? area.top + area.height / 2) + 14;
    box.style.left = `${Math.max(8, Math.min(left, wide - size.width - 8))}px`;
    box.style.top = `${top + size.height > tall - 8 ? Math.max(8, top - size.height - 28) : top}px`;
    if (shown !== node) mark((shown = node));
  }

  function hide() {
    box.hidden = true;
    if (shown !== null) mark((shown = null));
  }

  const owner = (event) => (event.target instanceof Element ? event.target.closest(".has-details") : null);
  document.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const node = owner(event);
    if (node) show(node, event.clientX, event.clientY);
    else if (!document.activeElement || !DETAILS.has(document.activeElement) || shown !== document.activeElement) hide();
  });
  document.addEventListener("focusin", (event) => (DETAILS.has(event.target) ? show(event.target) : hide()));
  document.addEventListener("click", (event) => {
    const node = owner(event);
    if (node) show(node, event.clientX || undefined, event.clientY || undefined);
    else hide();
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("scroll", () => shown !== document.activeElement && hide(), { passive: true, capture: true });
}
