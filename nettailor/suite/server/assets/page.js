"use strict";
const MOST_CLASSES = 5;
const part = (id) => document.getElementById(id);
let pictures = [];
let busy = false;

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function say(text, bad = false) {
  part("status").textContent = text;
  part("status").classList.toggle("bad", bad);
}

async function ask(path, options = {}) {
  const token = part("token").value;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers }).catch(() => null);
  if (!response) throw new Error("The server can't be reached.");
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) part("secret").hidden = false;
  if (!response.ok) throw new Error(answer.detail || `The server answered ${response.status}.`);
  return answer;
}

async function showTasks() {
  const suite = await ask("tasks");
  const ticked = new Set(wanted());
  part("tasks").replaceChildren();
  for (const task of suite.tasks) {
    const label = element("label", "", part("tasks"));
    const box = element("input", "", label);
    box.type = "checkbox";
    box.name = "task";
    box.value = task.name;
    box.checked = ticked.has(task.name) || suite.tasks.length === 1;
    const words = element("span", task.name + " ", label);
    element("small", `${task.classes.length} classes`, words);
  }
  const count = suite.tasks.length;
  part("suite").textContent = `${count} task${count === 1 ? "" : "s"} over one backbone; pictures of any size, ` +
    `resized to ${suite.input_size} pixels, at most ${suite.max_pictures} at once.`;
  say("");
}

const wanted = () => [...document.querySelectorAll("#tasks input:checked")].map((box) => box.value);

function choose(files) {
  for (const picture of pictures) URL.revokeObjectURL(picture.url);
  pictures = [...files].map((file) => ({ file, url: URL.createObjectURL(file) }));
  part("chosen").replaceChildren();
  part("answers").replaceChildren();
  for (const picture of pictures) {
    const image = element("img", "", element("li", "", part("chosen")));
    image.src = picture.url;
    image.alt = picture.file.name;
  }
  say(pictures.length ? `${pictures.length} picture${pictures.length === 1 ? "" : "s"} chosen.` : "");
}

function showAnswer(answer, picture) {
  const card = element("article", "", part("answers"));
  const image = element("img", "", card);
  image.src = picture.url;
  image.alt = "";
  element("h2", answer.name, card);
  for (const [task, guesses] of Object.entries(answer.tasks)) {
    element("h3", task, card);
    const list = element("ol", "", card);
    for (const guess of guesses) {
      const line = element("li", "", list);
      const bar = element("span", "", line);
      bar.className = "bar";
      bar.setAttribute("aria-hidden", "true");
      bar.style.width = `${100 * guess.probability}%`;
      element("span", guess.label, line);
      element("span", `${(100 * guess.probability).toFixed(1)} %`, line);
    }
  }
}

async function send() {
  if (!document.querySelector("#tasks input")) await showTasks();
  if (!pictures.length) throw new Error("Choose a picture first.");
  if (!wanted().length) throw new Error("Tick at least one task.");
  const query = new URLSearchParams(wanted().map((task) => ["task", task]));
  query.set("top", MOST_CLASSES);
  const form = new FormData();
  for (const picture of pictures) form.append("picture", picture.file, picture.file.name);
  say("Asking …");
  const answer = await ask(`predict?${query}`, { method: "POST", body: form });
  part("answers").replaceChildren();
  answer.pictures.forEach((found, place) => showAnswer(found, pictures[place]));
  say(`Answered: ${answer.pictures.length} picture${answer.pictures.length === 1 ? "" : "s"}.`);
}

async function attempt(action) {
  if (busy) return;
  busy = true; // the button is not disabled meanwhile: it would lose the keyboard's focus
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  }
  busy = false;
}

function tickAll(ticked) {
  for (const box of document.querySelectorAll("#tasks input")) box.checked = ticked;
}

part("files").addEventListener("change", (event) => choose(event.target.files));
part("all").addEventListener("click", () => tickAll(true));
part("none").addEventListener("click", () => tickAll(false));
part("token").addEventListener("change", () => attempt(showTasks));
part("ask").addEventListener("submit", (event) => { event.preventDefault(); attempt(send); });
for (const kind of ["dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    part("drop").classList.toggle("over", kind === "dragover");
    if (kind !== "drop" || !event.dataTransfer.files.length) return;
    part("files").files = event.dataTransfer.files; // the field names what was dropped, not what was chosen before
    choose(event.dataTransfer.files);
  });
}
attempt(showTasks);
