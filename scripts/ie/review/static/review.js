// The review page. A text comes as cells (what can be marked) with gaps between them. The page counts cells, never
// characters, so that emoji and combining marks can't shift an offset.

import { drawBoxes, showPages } from "/document.js";
import { drawLanes } from "/lanes.js";

const $ = (id) => document.getElementById(id);
const name = new URLSearchParams(location.search).get("annotator") || "";

let project; // what doesn't change: labels, definitions, guidelines
let item; // the question as the server sent it
let spans = []; // {first, end, label, sources} in the text, all labels
let relations = []; // {head, child: spans, label, source}
let cats = {};
let cursor = 0; // the cell where the keyboard is
let anchor = null; // other end of a selection, a cell
let moved = false; // whether the cursor is on a new word, with no action on it so far
let chosen = null; // the selected span
let head = null; // the span from which a relation is drawn
let edge = null; // the selected relation
let label = ""; // what M marks with
let steps = 0; // how far undo has gone back
let entry = ""; // id of the next answer: if it is sent twice, it counts once
let sending = false;
let dragging = false;
let clicked = null; // the cell that was clicked before, to tell a second click on it
let watch = { since: 0, sum: 0 }; // time in front of this question, while the page is visible

// Talking to the server

async function ask(path, body) {
  const options = body
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
    : {};
  const response = await fetch(path, options);
  const content = await response.json().catch(async () => ({ error: "The server's answer can't be read." }));
  if (!response.ok) throw Object.assign(new Error(content.error || response.statusText), { status: response.status });
  return content;
}

const query = (more = {}) => new URLSearchParams({ annotator: name, ...more });

async function load(path) {
  try {
    const next = await ask(path);
    warn("");
    show(next);
  } catch (error) {
    warn(error.status ? error.message : "The server doesn't answer. Restart it; nothing is lost.");
  }
}

// An answer to a row also says whether it is right.
async function answer(kind, row = kind === "accept" && item?.unit.task === "row" ? "yes" : null) {
  if (!item || sending) return;
  const flagged = $("flag").getAttribute("aria-pressed") === "true";
  const body = {
    entry, annotator: item.annotator, text: item.text, unit: item.unit.name, base: item.base, answer: kind, row,
    spans: spans.map((s) => [s.first, s.end, s.label]),
    relations: relations.map((r) => [spans.indexOf(r.head), spans.indexOf(r.child), r.label]),
    cats, seconds: Math.min(1e7, Math.round(seconds() * 100) / 100), meeting: flagged ? $("note").value : null,
  };
  sending = true;
  setButtons();
  try {
    const next = await ask("/api/answer", body);
    steps = 0;
    warn("");
    show(next);
    say(`${{ accept: "Accepted", reject: "Rejected", ignore: "Ignored", yes: "Yes", no: "No", correct: "To correct" }[row || kind]}.`);
  } catch (error) {
    if (error.status === 409) {
      await load(`/api/next?${query()}`);
      warn(`${error.message} Its current state is shown, or the next text.`);
    } else {
      warn(error.status ? error.message : "The server doesn't answer, so this isn't saved yet. Restart it, then press the key again.");
    }
  } finally {
    sending = false;
    setButtons();
  }
}

async function undo() {
  if (sending) return;
  try {
    const earlier = await ask(`/api/back?${query({ steps: steps + 1 })}`);
    steps += 1;
    warn("");
    show(earlier);
  } catch (error) {
    say(error.message);
    if (error.status !== 404) warn(error.status ? error.message : "The server doesn't answer.");
  }
}

const judge = (row) => item?.unit.task === "row" && answer("accept", row);

function nextLabel(by = 1) {
  const labels = item.unit.labels;
  if (item.unit.task === "row") return;
  if (item.unit.task !== "categories" && labels.length > 1) {
    label = labels[(labels.indexOf(label) + by + labels.length) % labels.length];
    draw();
    say(`Label ${label}.`);
  } else load(`/api/item?${query({ text: item.text, unit: nextUnit() })}`);
}

function nextUnit() {
  return project.units[(project.units.indexOf(item.unit.name) + 1) % project.units.length];
}

// Time

const seconds = () => watch.sum + (watch.since ? (performance.now() - watch.since) / 1000 : 0);
document.addEventListener("visibilitychange", () => {
  watch = document.hidden ? { since: 0, sum: seconds() } : { since: performance.now(), sum: watch.sum };
});

// Showing a question

function show(next) {
  item = next.done ? null : next;
  $("task").hidden = !item;
  $("empty").hidden = !!item;
  showProgress(next.progress);
  showSession(next.session);
  $("who").textContent = `as ${next.annotator}`;
  if (next.faults.length) warn(next.faults.join(" "));  // of files read in the background
  if (!item) {
    $("emptytext").textContent = project.selection
      ? "Every text of this selection was reviewed again."
      : "Every text is answered, skipped, or with another annotator. Add texts, or review errors.";
    return;
  }
  spans = item.spans.map((s) => ({ ...s }));
  relations = item.relations.map((r) => ({ ...r, head: spans[r.head], child: spans[r.child] }));
  cats = { ...item.cats };
  cursor = spans.find((s) => item.unit.labels.includes(s.label))?.first ?? 0;
  moved = false;
  anchor = chosen = head = edge = clicked = null;
  label = item.unit.labels.includes(label) ? label : item.unit.labels[0];
  entry = newEntry();
  watch = { since: document.hidden ? 0 : performance.now(), sum: 0 };
  $("flag").setAttribute("aria-pressed", item.meeting !== null);
  $("meeting").hidden = item.meeting === null;
  $("note").value = item.meeting || "";
  showQuestion();
  showRow();
  showGuidelines();
  showDocument();
  draw();
  if (!$("note").matches(":focus")) $("text").focus({ preventScroll: true });
}

const newEntry = () => [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");

function showProgress({ counts, aims }) {
  $("aim").textContent = aims[0].sentence;
  $("aim").title = aims.slice(1).map((a) => a.sentence).join(" ");
  $("bar").value = aims[0].have / aims[0].goal;
  $("counts").textContent = Object.entries(counts).map(([side, n]) => `${side} ${n.toLocaleString("en")}`).join(" · ");
}

function showSession({ answers, texts, seconds, labels, skipped, note }) {
  const minutes = seconds / 60;
  const rate = (n) => (minutes > 0 ? (n / minutes).toFixed(1) : "0");
  const row = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, value));
  $("speed").replaceChildren(
    row("texts finished", `${texts} (${rate(texts)} a minute)`), row("answers", `${answers} (${rate(answers)} a minute)`),
    ...Object.entries(labels).map(([l, n]) => row(chip(l), n.toLocaleString("en"))));
  $("skipped").textContent = [skipped, note].filter(Boolean).join(" ");
}

function showQuestion() {
  const { task, labels } = item.unit;
  const one = labels.length === 1;
  const place = item.place;
  const where = place.text ? `Text ${place.text} of ${place.batch}, ` : "";
  const part = task === "row" ? `Row ${place.unit} of ${place.units} in this text` : `${where}question ${place.unit} of ${place.units}`;
  $("place").textContent = `${item.answered ? "Answered before: " : ""}${part}`;
  const titles = {
    row: ["Is this row right?"],
    spans: one ? ["Mark every ", chip(labels[0])] : ["Mark all spans"],
    relations: one ? ["Draw every ", chip(labels[0])] : ["Draw all relations"],
    categories: ["What is it about?"],
  };
  $("question").replaceChildren(...titles[task]);
  $("definition").textContent = task === "row" ? "" : one ? project.definitions[labels[0]] || "" : "";
  $("notice").hidden = !item.blind;
  // a training text is only blind if `watch` drew it
  const use = item.side === "train" ? "measures the pipeline" : `is for ${item.side}`;
  $("notice").textContent = `This text ${use}: suggestions are hidden, so that they don't influence you.`;
  $("origin").textContent = [
    `Text ${item.id}`,
    item.document.place,
    item.side === "bridge" ? "similar to texts of two parts of the split, so used for neither" : `for ${item.side}`,
    item.why && `shown because: ${item.why}`,
    item.sources.length ? `suggestions: ${item.sources.join(", ")}` : "no suggestions",
  ].filter(Boolean).join(" · ");
}

// A suggested relation with the values of its spans, to be judged as a whole.
function showRow() {
  const asked = item.unit.task === "row";
  for (const id of ["row", "sure", "yes", "no", "correct"]) $(id).hidden = !asked;
  $("accept").hidden = asked;
  if (!asked) return;
  const [{ head, child, label: relation }] = relations;
  const cells = [head, child].map((end, i) => element("td", {}, element("bdi", {}, written(end)), element("small", {}, item.row.values[i])));
  cells.splice(1, 0, element("td", {}, chip(relation), " →"));
  $("row").replaceChildren(
    element("caption", { class: "unseen" }, `${written(head)} ${relation} ${written(child)}`),
    element("tr", {}, ...[chip(head.label), "relation", chip(child.label)].map((of) => element("th", { scope: "col" }, of))),
    element("tr", {}, ...cells));
  const p = item.row.confidence;
  const share = Math.min(99, Math.max(1, Math.round(100 * p)));
  $("sure").textContent = p === null ? "This row has no calibrated confidence."
    : `Confidence ${p.toFixed(2)}: of 100 rows like it, about ${share} ${share === 1 ? "is" : "are"} right.`;
}

// Every key: its questions ("" for all), whether it is shown below the question, and a function that says whether
// it does something now; without one, it always does.
const several = () => item.unit.labels.length > 1;
const offered = () => item.others.find((o) => !spans.some((s) => same(s, o)));
const suggested = () => spans.some((s) => asked(s) && s.sources.length);
const HELP = [
  ["Y", "yes: all of it is right", "row", true],
  ["N D", "no: there is no such relation", "row", true],
  ["C", "correct it, in the other questions about the text", "row", true],
  ["W", "next name or number; with Shift the previous one", "spans", true],
  ["← →", "previous, next word", "spans relations", true],
  ["Shift ← →", "change the end of the selection", "spans", true],
  ["↑ ↓", "the line above, below", "spans relations"],
  ["Home End", "first, last word", "spans relations"],
  ["1–9 0", "label the selection or span, or choose the label", "spans", true, several],
  ["M", "mark the selection", "spans", true],
  ["M", "from this span, then to that span", "relations", true],
  ["E", "mark every occurrence, in any case", "spans", true, () => !!(chosen || moved)],
  ["N P", "next, previous span", "spans relations"],
  ["Y", "yes: keep it, next suggestion", "spans", true, suggested],
  ["D", "no: delete it, next suggestion", "spans", true, () => spans.some(asked)],
  ["D", "delete the relation", "relations", true],
  ["O", "take over what is also suggested", "spans", true, () => !!offered()],
  ["C", "change the label of the span", "spans", false, several],
  ["R", "next relation", "relations", true],
  ["1–9", "choose a category", "categories", true],
  ["1–9", "choose the label", "relations", true, several],
  ["L", "next label; Shift+L the previous one", ""],
  ["Esc", "clear the selection", "spans relations"],
  ["A Enter", "accept", ""],
  ["X", "reject the text", ""],
  ["S Space", "ignore the text", ""],
  ["U", "undo the last answer", ""],
  ["F", "flag the text for the meeting", ""],
  ["/", "find a text and open it", ""],
  ["H", "your answers: open one to correct it", ""],
  ["T", "continue with texts like this one (of train)", ""],
  ["G", "open or close the guidelines", ""],
  ["V", "view the page of the document", ""],
  ["?", "all keys", ""],
];

function keyRow([keys, does]) {
  return element("div", {}, element("dt", {}, ...keys.split(" ").map((key) => element("kbd", {}, key))), element("dd", {}, does));
}

function drawKeys() {
  const now = HELP.filter(([, , tasks, main, when]) =>
    main && tasks.split(" ").includes(item.unit.task) && (!when || when()));
  $("keys").replaceChildren(...now.map(keyRow));
}

function help() {
  const groups = { "": "For every question", row: "Rows", spans: "Spans", relations: "Relations", categories: "Categories" };
  $("allkeys").replaceChildren(...Object.entries(groups).flatMap(([task, title]) => [
    element("h3", {}, title),
    element("dl", {}, ...HELP.filter(([, , tasks]) => tasks.split(" ").includes(task)).map(keyRow)),
  ]));
  $("help").showModal();
}

function showGuidelines() {
  const { blocks, version } = project.guidelines;
  const about = blocks.filter((b) => b.labels.some((l) => item.unit.labels.includes(l)));
  // The server makes this HTML from Markdown, and escapes HTML in it.
  $("about").innerHTML = about.map((b) => b.html).join("") || "<p>The guidelines don't name this label.</p>";
  if (!$("all").firstChild) $("all").innerHTML = blocks.map((b) => b.html).join("");
  $("guidetitle").textContent = item.unit.labels.length === 1 ? `Guidelines: ${item.unit.labels[0]}` : "Guidelines";
  $("version").textContent = `Version ${version}, kept with each answer`;
}

// Drawing

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

const colour = (l) => `l${Math.max(0, project.colours.indexOf(l)) % 8}`;
const chip = (l) => element("span", { class: `chip ${colour(l)}` }, l);
const written = (s) => item.pieces.slice(2 * s.first + 1, 2 * s.end).join("");
const asked = (s) => item.unit.task !== "spans" || item.unit.labels.includes(s.label);
const range = () => (anchor === null ? [cursor, cursor] : [Math.min(anchor, cursor), Math.max(anchor, cursor)]);

function draw() {
  drawText();
  drawAnnotation();
  drawLabels();
  drawPages();
  drawKeys();
  setButtons();
}

function drawText() {
  if (project.overlapping) return drawOverlapping();
  const [from, to] = range();
  const parts = [];
  let mark = null;
  for (let i = 0; i < item.pieces.length; i += 1) {
    const n = (i - 1) / 2;
    const span = i % 2 ? spans.find((s) => s.first === n) : null;
    if (span) parts.push((mark = drawMark(span)));
    const into = mark ?? { append: (node) => parts.push(node) };
    const selected = anchor !== null && from <= n && n <= to;
    if (i % 2 === 0) {
      const within = anchor !== null && from < n && n < to;
      into.append(within ? element("span", { class: "sel" }, item.pieces[i]) : document.createTextNode(item.pieces[i]));
    } else {
      into.append(element("span", { class: `w${selected ? " sel" : ""}${n === cursor ? " cur" : ""}`, "data-i": n }, item.pieces[i]));
      const open = spans.find((s) => s.first <= n && n < s.end);
      if (mark && open && open.end === n + 1) {
        mark.append(element("span", { class: "tag", "aria-hidden": true }, open.label));
        mark = null;
      }
    }
  }
  $("text").replaceChildren(...parts);
}

// Spans as bars below the words. The selected one is also marked in the text.
function drawOverlapping() {
  const [from, to] = range();
  const within = (i, span) => span && 2 * span.first < i && i < 2 * span.end;
  const parts = item.pieces.map((piece, i) => {
    const n = (i - 1) / 2; // of a cell; a gap lies between two of them
    const classes = [
      i % 2 ? "w" : "g", anchor !== null && from <= n && n <= to && "sel", n === cursor && "cur",
      within(i, chosen) && `of ${colour(chosen.label)}`, within(i, head) && "of-head",
    ];
    return element("span", { class: classes.filter(Boolean).join(" "), "data-i": i % 2 ? n : null }, piece);
  });
  $("text").replaceChildren(...parts);
  drawLanes($("text"), spans.map((s) => ({ ...s, kind: kindOf(s) })));
}

// The document that the text is from: where it stands, and a picture of the page with the spans.

let pagesOf = ""; // the text whose pages are loaded

function showDocument() {
  const { place, pages } = item.document;
  const pictures = !!place && Object.keys(pages).length > 0;
  $("document").hidden = !pictures;
  $("document-place").textContent = place || "";
  if (!pictures) $("document").open = false;
}

function drawPages() {
  const view = item.document;
  if (!$("document").open || !view.place) return;
  if (pagesOf !== item.text) {
    pagesOf = item.text;
    showPages($("pages"), view, (page) => `/api/page?${query({ text: item.text, page })}`);
  }
  const marks = spans.map((s) => [s, `${asked(s) ? colour(s.label) : "place"}${s === chosen ? " chosen" : ""}`]);
  if (!chosen && moved) marks.push([{ first: range()[0], end: range()[1] + 1 }, "chosen"]);
  const boxes = marks.flatMap(([s, kind]) => lines(view.boxes.slice(s.first, s.end).flat()).map((box) => ({ box, kind })));
  drawBoxes($("pages"), view, boxes.length ? boxes : lines(view.boxes.flat()).map((box) => ({ box, kind: "place" })));
}

// Boxes of words on one line as one box.
function lines(boxes) {
  const joined = [];
  for (const [page, left, top, right, bottom] of boxes) {
    const last = joined.at(-1);
    if (last && last[0] === page && last[2] === top) {
      last[1] = Math.min(last[1], left);
      last[3] = Math.max(last[3], right);
      last[4] = Math.max(last[4], bottom);
    } else joined.push([page, left, top, right, bottom]);
  }
  return joined;
}

function view() {
  if ($("document").hidden) return say("There is no picture of a page.");
  $("document").open = !$("document").open;
}

const drawMark = (span) => element("mark", { class: kindOf(span) });

function kindOf(span) {
  const inexact = span.sources.some((s) => s.alignment && s.alignment !== "exact");
  const classes = [asked(span) ? colour(span.label) : "context", span === chosen && "chosen", span === head && "head", inexact && "inexact"];
  return classes.filter(Boolean).join(" ");
}

function drawAnnotation() {
  const { task } = item.unit;
  const mine = spans.filter(asked);
  $("annotation").hidden = task === "categories" || task === "row";
  $("annotation-title").textContent = task === "relations" ? count(relations, "relation") : count(mine, "span");
  const rows = task === "relations" ? relations.map(relationRow) : mine.map(spanRow);
  $("marks").replaceChildren(...rows);
  const others = item.others.filter((o) => !spans.some((s) => same(s, o)));
  $("othersbox").hidden = task !== "spans" || !others.length;
  $("others").replaceChildren(
    ...others.map((o, i) =>
      element("li", {}, chip(o.label), element("span", { class: "what", dir: "auto" }, written(o)), element("span", { class: "acts" }, from(o),
        element("button", { type: "button", "aria-label": `Take over ${written(o)}`, onclick: () => takeOver(o) }, "take over ", ...(i ? [] : [element("kbd", {}, "O")]))))),
  );
}

// Spans of other questions stand in the text as well, so the label is named if there is only one.
const count = (list, what) => {
  if (list.length) return `${list.length} ${what}${list.length === 1 ? "" : "s"}`;
  return several() ? "Nothing marked" : `No ${item.unit.labels[0]} marked`;
};
const same = (a, b) => a.first === b.first && a.end === b.end && a.label === b.label;

function from(span, gold = false) {
  const sources = span.sources.map((s) => [s.name, s.alignment, s.score === null ? "" : s.score.toFixed(2)].filter(Boolean).join(", "));
  return element("span", { class: "from" }, [...new Set([...(gold ? ["gold"] : []), ...sources])].join(" + ") || "yours");
}

function spanRow(span) {
  const yes = element("button", { type: "button", "aria-pressed": String(!!span.kept), "aria-label": `Keep ${written(span)}`, onclick: () => keep(span) }, "✓");
  return element("li", { class: span === chosen ? "chosen" : "" }, chip(span.label),
    element("span", { class: "what", dir: "auto" }, written(span)),
    element("span", { class: "acts" }, from(span, item.round > 1 && !span.yours), ...(span.sources.length && !span.yours ? [yes] : []),
      element("button", { type: "button", "aria-label": `Delete ${written(span)}`, onclick: () => remove(span) }, "×")));
}

function relationRow(relation) {
  return element("li", { class: relation === edge ? "chosen" : "" },
    element("span", { class: "what" }, element("bdi", {}, written(relation.head)), " ", chip(relation.label), " → ", element("bdi", {}, written(relation.child))),
    element("span", { class: "acts" }, element("span", { class: "from" }, relation.source || "yours"),
      element("button", { type: "button", "aria-label": `Delete ${relation.label} from ${written(relation.head)} to ${written(relation.child)}`, onclick: () => removeRelation(relation) }, "×")));
}

function drawLabels() {
  const { task, labels } = item.unit;
  $("labels").hidden = task === "categories" || task === "row" || labels.length < 2;
  $("labels").replaceChildren(...labels.map((l, i) => element("li", {},
    element("button", { type: "button", "aria-pressed": String(l === label), title: project.definitions[l] || null, onclick: () => choose(i) }, chip(l), ...(i < 10 ? [element("kbd", {}, String((i + 1) % 10))] : [])))));
  $("categories").hidden = task !== "categories";
  if (task !== "categories") return;
  $("categories").replaceChildren(...labels.map((l, i) => element("li", {},
    element("button", { type: "button", "aria-pressed": String(!!cats[l]), onclick: () => choose(i) },
      ...(i < 10 ? [element("kbd", {}, String((i + 1) % 10))] : []), element("strong", {}, l), element("span", {}, project.definitions[l] || ""),
      element("span", { class: "votes" }, (item.votes[l] || []).join(", "))))));
}

function setButtons() {
  for (const id of ["accept", "reject", "ignore", "yes", "no", "correct"]) $(id).disabled = sending;
}

const say = (sentence) => { $("live").textContent = sentence; };

function warn(sentence) {
  $("banner").textContent = sentence;
  $("banner").hidden = !sentence;
}

// Marking

function mark(first, end, as = label) {
  const there = spans.find((s) => same(s, { first, end, label: as }));
  chosen = (project.overlapping && there) || put(first, end, as);
  cursor = end - 1;
  anchor = null;
  moved = false;
  draw();
  say(`${written(chosen)} is ${there === chosen ? "already " : ""}${as}.`);
}

// A span, in place of those that it overlaps and of their relations unless spans may overlap.
function put(first, end, as) {
  const replaced = project.overlapping ? [] : spans.filter((s) => s.first < end && first < s.end);
  spans = spans.filter((s) => !replaced.includes(s));
  relations = relations.filter((r) => !replaced.includes(r.head) && !replaced.includes(r.child));
  const known = item.others.find((o) => same(o, { first, end, label: as }));
  const span = { first, end, label: as, sources: known ? known.sources : [], yours: true };
  spans = [...spans, span].sort(byPlace);
  return span;
}

// An outer span before those in it.
const byPlace = (a, b) => a.first - b.first || b.end - a.end || (a.label < b.label ? -1 : 1);

function markEvery() {
  if (item.unit.task !== "spans") return;
  if (chosen && !asked(chosen)) return say(`This question is about ${item.unit.labels.join(", ")} only.`);
  if (!chosen && !moved) return say("Select words or a span first.");
  const [from, to] = chosen ? [chosen.first, chosen.end - 1] : range();
  const as = chosen ? chosen.label : label;
  const size = to + 1 - from;
  const folded = (first) => written({ first, end: first + size }).toLocaleLowerCase();
  const wanted = folded(from);
  let added = 0;
  for (let first = 0; first + size <= cells(); first += 1) {
    const taken = (s) => s.first < first + size && first < s.end
      && (!project.overlapping || (s.label === as && s.end - s.first === size && folded(s.first) === wanted));
    if (folded(first) !== wanted || spans.some(taken)) continue;
    put(first, first + size, as);
    added += 1;
  }
  chosen = chosen || spans.find((s) => s.first === from && (!project.overlapping || same(s, { first: from, end: to + 1, label: as }))) || null;
  anchor = null;
  moved = false;
  draw();
  say(added ? `${added} more marked as ${as}.` : "There is no other occurrence.");
}

const takeOver = (o) => mark(o.first, o.end, o.label);

function remove(span) {
  if (!span || item.unit.task !== "spans") return;
  const rest = spans.slice(spans.indexOf(span) + 1);
  spans = spans.filter((s) => s !== span);
  relations = relations.filter((r) => r.head !== span && r.child !== span);
  if (asked(span) && !item.others.some((o) => same(o, span)) && span.sources.length) item.others.push({ ...span });
  chosen = span.sources.length ? rest.find(unchecked) || null : null;
  cursor = chosen ? chosen.end - 1 : span.first;
  moved = !chosen;
  draw();
  say(`${written(span)} is no longer a span.${chosen ? ` Next: ${written(chosen)}, ${chosen.label}.` : ""}`);
}

// A suggestion that was neither kept nor deleted.
const unchecked = (span) => asked(span) && span.sources.length && !span.yours && !span.kept;

// Yes to a suggestion, then on to the next one.
function keep(span) {
  if (item.unit.task !== "spans") return;
  if (span && asked(span)) span.kept = true;
  const at = span ? spans.indexOf(span) : -1;
  chosen = spans.slice(at + 1).find(unchecked) || spans.find(unchecked) || null;
  if (chosen) cursor = chosen.end - 1;
  anchor = null;
  moved = false;
  draw();
  say(chosen ? `${written(chosen)}, ${chosen.label}?` : "Every suggestion is checked.");
}

function relabel(span, to) {
  if (!span || item.unit.task !== "spans") return;
  const { labels } = item.unit;
  if (!several() || !asked(span)) return say(`This question is about ${labels.join(", ")} only.`);
  const at = labels.indexOf(span.label) + 1;
  const free = (l) => !spans.some((s) => s !== span && same(s, { ...span, label: l }));
  if (to && !free(to)) return say(`${written(span)} is already ${to}.`);
  span.label = to || [...labels.slice(at), ...labels.slice(0, at)].find(free);
  spans.sort(byPlace);
  span.sources = [];
  span.yours = true;
  draw();
  say(`${written(span)} is ${span.label}.`);
}

function link(span) {
  if (!span) return;
  chosen = span;
  if (!head) {
    head = span;
    say(`From ${written(span)}.`);
  } else if (head === span) head = null;
  else {
    const old = relations.find((r) => r.head === head && r.child === span && r.label === label);
    edge = old || { head, child: span, label, source: "" };
    if (!old) relations = [...relations, edge];
    say(`${written(head)} ${label} ${written(span)}.`);
    head = null;
  }
  draw();
}

// From or to the innermost span of a cell; of the same cell again, from the span around that.
function linkAt(around) {
  const again = project.overlapping && clicked === cursor && around.includes(head);
  clicked = cursor;
  if (!again) return link(around[0]);
  head = chosen = around[around.indexOf(head) + 1] || null;
  draw();
  say(head ? `From ${written(head)}.` : "");
}

function removeRelation(relation) {
  relations = relations.filter((r) => r !== relation);
  edge = null;
  draw();
}

function choose(i) {
  const { task, labels } = item.unit;
  if (i >= labels.length || task === "row") return;
  if (task === "spans") {
    if (several()) label = labels[i];
    if (chosen && asked(chosen)) return several() && relabel(chosen, label);
    if (moved) return mark(range()[0], range()[1] + 1);
  }
  if (task !== "categories") label = labels[i];
  else if (project.oneCategory) cats = Object.fromEntries(labels.map((l, j) => [l, Number(j === i)]));
  else cats = { ...cats, [labels[i]]: 1 - (cats[labels[i]] || 0) };
  draw();
  say(task === "categories" ? labels.filter((l) => cats[l]).join(", ") : `Label ${label}.`);
}

// Another label for the words of the selected span.
function addLabel(i) {
  const { task, labels } = item.unit;
  if (task !== "spans" || !chosen || i >= labels.length) return;
  label = labels[i];
  mark(chosen.first, chosen.end);
}

function walk(by) {
  const list = item.unit.task === "relations" ? spans : spans.filter(asked);
  if (!list.length) return;
  const at = list.indexOf(chosen);
  const start = project.overlapping && moved ? nearest(list, by) : null;
  chosen = start || list[at < 0 ? (by > 0 ? 0 : list.length - 1) : (at + by + list.length) % list.length];
  cursor = chosen.end - 1;
  anchor = null;
  moved = false;
  draw();
  reveal();
  say(`${written(chosen)}, ${chosen.label}.`);
}

const cells = () => (item.pieces.length - 1) / 2;
const cell = (i) => item.pieces[2 * i + 1];
// The spans of a cell, the innermost first.
const covering = (i, list = spans) => list.filter((s) => s.first <= i && i < s.end).sort((a, b) => a.end - a.first - b.end + b.first);
const at = (i) => covering(i)[0] || null;
// The span at the cursor, or else the next one.
const nearest = (list, by) => covering(cursor, list)[0] || (by > 0 ? list.find((s) => s.first > cursor) : list.findLast((s) => s.end <= cursor));

function moveTo(target, extend = false) {
  const last = cells() - 1;
  if (last < 0) return;
  if (extend && anchor === null) anchor = cursor;
  if (!extend) anchor = null;
  cursor = Math.min(last, Math.max(0, target));
  // where spans overlap, the arrows select words inside of them; N selects the span
  chosen = extend || (project.overlapping && item.unit.task === "spans") ? null : at(cursor);
  moved = !chosen;
  draw();
  reveal();
  say(chosen ? `${written(chosen)}, ${chosen.label}` : cell(cursor));
}

// To the nearest word of the line above or below.
function moveLine(by, extend) {
  const words = [...$("text").querySelectorAll(".w")].map((word) => word.getBoundingClientRect());
  if (!words.length) return;
  const here = words[cursor];
  const middle = (box) => (box.left + box.right) / 2;
  const beyond = words.filter((box) => (by > 0 ? box.top > here.bottom - 2 : box.bottom < here.top + 2));
  if (!beyond.length) return moveTo(by > 0 ? cells() - 1 : 0, extend);
  const line = by > 0 ? Math.min(...beyond.map((box) => box.top)) : Math.max(...beyond.map((box) => box.top));
  const near = beyond.filter((box) => Math.abs(box.top - line) < here.height / 2);
  const target = near.reduce((best, box) => (Math.abs(middle(box) - middle(here)) < Math.abs(middle(best) - middle(here)) ? box : best));
  moveTo(words.indexOf(target), extend);
}

// Names and numbers: words that begin with a capital, hold a digit or are a currency sign, units, and what joins them.
const nameLike = (i) => /^\p{Lu}|\p{Nd}|^\p{Sc}$/u.test(cell(i));
const joins = (i) => cell(i) === "&" || (/^[-–/.'’]$/.test(cell(i)) && item.pieces[2 * i] === "" && item.pieces[2 * i + 2] === "");

const isUnit = (i) => item.pieces[2 * i] === "" && /\p{Nd}/u.test(cell(i - 1)) && /^[\p{L}%]+$/u.test(cell(i));

function names() {
  const runs = [];
  const taken = (i) => !project.overlapping && at(i);
  for (let i = 0; i < cells(); i += 1) {
    if (taken(i) || !nameLike(i)) continue;
    let end = i + 1;
    while (end < cells() && !taken(end)) {
      if (nameLike(end) || isUnit(end)) end += 1;
      else if (end + 1 < cells() && joins(end) && nameLike(end + 1) && !taken(end + 1)) end += 2;
      else break;
    }
    runs.push([i, end]);
    // The first word of a sentence always has a capital.
    if (end - i > 1 && (i === 0 || /[.!?:]$/.test(cell(i - 1)))) runs.push([i + 1, end]);
    i = end - 1;
  }
  return runs.filter(([first, end]) => !spans.some((s) => asked(s) && s.first === first && s.end === end));
}

function walkNames(by) {
  if (item.unit.task !== "spans") return walk(by);
  const [from, to] = moved || chosen ? (chosen ? [chosen.first, chosen.end - 1] : range()) : [-1, -1];
  const runs = by > 0 ? names() : names().reverse();
  const later = ([a, b]) => (by > 0 ? a > from && b - 1 >= to : from < 0 || a < from);
  const run = runs.find(later);
  if (!run) return say("There is no other name or number.");
  chosen = null;
  cursor = run[1] - 1;
  anchor = run[1] - run[0] > 1 ? run[0] : null;
  moved = true;
  draw();
  reveal();
  say(written({ first: run[0], end: run[1] }));
}

const reveal = () => $("text").querySelector(".cur")?.scrollIntoView({ block: "nearest" });

function flag() {
  const on = $("flag").getAttribute("aria-pressed") !== "true";
  $("flag").setAttribute("aria-pressed", on);
  $("meeting").hidden = !on;
  if (on) $("note").focus();
  else $("text").focus();
}

function guide() {
  $("rest").open = !$("rest").open;
  if ($("rest").open) $("rest").querySelector("summary").focus();
  else $("text").focus();
}

// Other texts

async function openTexts(which) {
  $("which").value = which;
  if (!$("texts").open) $("texts").showModal();
  $("find").focus();
  await listTexts();
}

let listed = 0; // the newest search: an older one may answer later

async function listTexts() {
  const search = (listed += 1);
  const which = $("which").value;
  try {
    const { total, rows } = await ask(`/api/texts?${query({ find: $("find").value, which })}`);
    if (search !== listed) return;
    const what = which === "mine" ? "answered by you" : "in this review";
    $("hits").textContent = `${total.toLocaleString("en")} ${total === 1 ? "text" : "texts"} ${what}${total > rows.length ? `, the first ${rows.length} are listed` : ""}`;
    $("list").replaceChildren(...rows.map((row) => element("li", {}, element("button", { type: "button", onclick: () => jump(row.text) },
      element("span", { class: "what", dir: "auto" }, row.start), element("span", { class: "from" }, row.state)))));
  } catch (error) {
    if (search === listed) $("hits").textContent = error.message;
  }
}

async function jump(text) {
  $("texts").close();
  steps = 0;
  await load(`/api/jump?${query({ text })}`);
}

async function moreLikeThis() {
  if (!item || sending) return;
  try {
    const { texts } = await ask("/api/similar", { annotator: item.annotator, text: item.text });
    const some = texts === 1 ? "text is the most similar one" : "texts are the most similar ones";
    notice(texts ? `After this one, the next ${texts} ${some} of train.` : "No similar text of train is left to review.");
  } catch (error) {
    warn(error.status ? error.message : "The server doesn't answer.");
  }
}

function notice(sentence) {
  $("notice").textContent = sentence;
  $("notice").hidden = !sentence;
  say(sentence);
}

// Keys

const KEYS = {
  a: () => answer("accept"), x: () => answer("reject"), s: () => answer("ignore"), u: undo,
  y: () => keep(chosen), e: markEvery, h: () => openTexts("mine"), "/": () => openTexts("all"), t: moreLikeThis,
  v: view, n: () => walk(1), p: () => walk(-1), c: () => relabel(chosen), f: flag, g: guide,
  m: () => {
    if (item.unit.task === "relations") link(chosen);
    else if (item.unit.task === "spans" && project.overlapping && chosen) mark(chosen.first, chosen.end);
    else if (item.unit.task === "spans") mark(range()[0], range()[1] + 1);
  },
  d: () => (item.unit.task === "relations" ? edge && removeRelation(edge) : remove(chosen)),
  o: () => item.unit.task === "spans" && offered() && takeOver(offered()),
  r: () => {
    if (item.unit.task !== "relations" || !relations.length) return;
    edge = relations[(relations.indexOf(edge) + 1) % relations.length];
    draw();
    say(`${written(edge.head)} ${edge.label} ${written(edge.child)}`);
  },
  "?": help, escape: () => { anchor = head = chosen = edge = null; moved = false; draw(); },
};
Object.assign(KEYS, { enter: KEYS.a, " ": KEYS.s, backspace: KEYS.d, delete: KEYS.d });

// What else these keys do, a row is answered with.
const VERDICTS = { y: "yes", n: "no", d: "no", backspace: "no", delete: "no", c: "correct" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  const at = event.target;
  if (at === $("note")) {
    if (key !== "escape" && !(key === "enter" && !event.shiftKey)) return;
    event.preventDefault();
    $("text").focus();
    return;
  }
  // Enter and Space press a focused button, as usual.
  if ((key === "enter" || key === " ") && at.closest("button, summary, a")) return;
  if (!item) {
    if (key === "u") undo();
    if (key === "?") help();
    if (key === "/" || key === "h") KEYS[key]();
    if (key === "/") event.preventDefault();
    return;
  }
  const rtl = getComputedStyle($("text")).direction === "rtl" ? -1 : 1;
  const extend = event.shiftKey && item.unit.task === "spans";
  if (key === "arrowright") moveTo(cursor + rtl, extend);
  else if (key === "arrowleft") moveTo(cursor - rtl, extend);
  else if (key === "arrowdown") moveLine(1, extend);
  else if (key === "arrowup") moveLine(-1, extend);
  else if (key === "home") moveTo(0, extend);
  else if (key === "end") moveTo(cells() - 1, extend);
  else if (key === "w") walkNames(event.shiftKey ? -1 : 1);
  else if (key === "l") nextLabel(event.shiftKey ? -1 : 1);
  else if (project.overlapping && event.shiftKey && /^Digit[0-9]$/.test(event.code)) addLabel((Number(event.code.at(-1)) + 9) % 10);
  else if (/^[0-9]$/.test(key)) choose((Number(key) + 9) % 10);
  else if (item.unit.task === "row" && VERDICTS[key]) event.repeat || judge(VERDICTS[key]);
  else if (KEYS[key] && !event.repeat) KEYS[key]();
  else return;
  event.preventDefault();
});

// Pointer

function select(span) {
  if (item.unit.task === "relations") return link(span);
  if (item.unit.task !== "spans") return;
  chosen = span;
  if (!covering(cursor).includes(span)) cursor = span.end - 1;
  anchor = null;
  moved = false;
  draw();
  if (project.overlapping) say(`${written(span)}, ${span.label}.`);
}

function cellAt(event) {
  const word = document.elementFromPoint(event.clientX, event.clientY)?.closest(".w");
  return word ? Number(word.dataset.i) : null;
}

$("text").addEventListener("pointerdown", (event) => {
  const bar = event.target.closest(".lane");
  if (bar && event.button === 0) return select(spans[bar.dataset.span]);
  const word = cellAt(event);
  if (!item || word === null || event.button !== 0) return;
  dragging = true;
  if (item.unit.task === "spans") clicked = moved && anchor === null ? cursor : null;
  anchor = null;
  cursor = word;
  moved = false;
});
document.addEventListener("pointermove", (event) => {
  const word = dragging ? cellAt(event) : null;
  if (word === null || (word === cursor && anchor !== null) || item.unit.task !== "spans") return;
  if (anchor === null && word === cursor) return;
  anchor ??= cursor;
  cursor = word;
  drawText();
});
document.addEventListener("pointerup", () => {
  if (!dragging) return;
  dragging = false;
  const around = covering(cursor);
  if (item.unit.task === "relations") return around.length && linkAt(around);
  if (item.unit.task !== "spans") return draw();
  // Where spans overlap, each click on a word selects the span around the one before, the last click the word itself.
  const next = project.overlapping ? around[around.indexOf(chosen) + 1] : around[0];
  if (anchor !== null || !around.length || (project.overlapping && clicked === cursor)) mark(range()[0], range()[1] + 1);
  else if (next) select(next);
  else moveTo(cursor);
});
document.addEventListener("pointercancel", () => { dragging = false; });

$("document").addEventListener("toggle", () => item && drawPages());
$("closehelp").addEventListener("click", () => $("help").close());
$("closetexts").addEventListener("click", () => $("texts").close());
$("find").addEventListener("input", listTexts);
$("which").addEventListener("change", listTexts);
for (const [id, does] of Object.entries({ keyhelp: help, search: () => openTexts("all"), more: moreLikeThis, accept: KEYS.a, yes: () => judge("yes"), no: () => judge("no"), correct: () => judge("correct"), reject: KEYS.x, ignore: KEYS.s, undo, undoempty: undo, flag }))
  $(id).addEventListener("click", does);

// Start

project = await ask("/api/project").catch((error) => { warn(error.message); throw error; });
if (project.overlapping) {
  $("text").classList.add("overlapping");
  HELP.splice(HELP.findIndex(([keys]) => keys === "M"), 0,
    ["Shift 1–9", "add a label to the same words", "spans", true, () => several() && !!chosen]);
  let width = 0;
  new ResizeObserver(() => {
    if (item && width !== $("text").clientWidth) drawText();
    width = $("text").clientWidth;
  }).observe($("text"));
}
if (project.direction === "rtl") $("text").dir = "rtl"; // also where a text begins with a foreign name
project.colours = [...(project.labels.spans || []), ...(project.labels.relations || [])];
await load(`/api/next?${query()}`);
