// The page over the database. Whatever comes from it is put in as text, never as HTML; texts come in pieces, as
// offsets count characters there and UTF-16 units here.

import { drawBoxes, showPages } from "/document.js";

const $ = (id) => document.getElementById(id);

let about = { labels: [], schema: {}, counts: {} };
let offers = []; // what the search found
let active = -1; // which of them the arrows are on
let asked = 0; // number of the last search: answers that come late are dropped

function make(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  if (text !== "") made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

async function ask(path, body) {
  const options = body
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }
    : {};
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server doesn't answer. Start it again.");
  }
  const found = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(found.error || response.statusText);
  return found;
}

function warn(text) {
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

const plural = (n, word) => `${n.toLocaleString("en")} ${n === 1 ? word : `${word}s`}`;

// Views

const TABS = ["ask", "entity"];

function open(view, focus = true) {
  for (const name of TABS) {
    $(name).hidden = name !== view;
    $(`tab-${name}`).setAttribute("aria-selected", String(name === view));
    $(`tab-${name}`).tabIndex = name === view ? 0 : -1;
  }
  if (focus) $(view === "ask" ? "question" : "search").focus();
}

for (const name of TABS) $(`tab-${name}`).addEventListener("click", () => open(name));
$("tabs").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  const other = TABS[1 - TABS.findIndex((name) => $(`tab-${name}`) === document.activeElement)];
  open(other, false);
  $(`tab-${other}`).focus();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea")) return;
  const wanted = { "/": ["ask", "question"], s: ["ask", "sql"], e: ["entity", "search"] }[event.key.toLowerCase()];
  if (!wanted) return;
  event.preventDefault();
  open(wanted[0], false);
  $(wanted[1]).focus();
  $(wanted[1]).select();
});

// Texts

function link(text, id, name = text) {
  const made = make("button", text, "link");
  made.type = "button";
  made.addEventListener("click", () => show(id ? { id } : { name }));
  return made;
}

function drawn(text, whole = false) {
  const item = make("li");
  const line = make("p", "", "text");
  line.dir = "auto";
  for (const piece of text.pieces) {
    let part;
    if (piece.label) {
      part = make("mark", "", `l${Math.max(0, about.labels.indexOf(piece.label)) % 8}`);
      part.append(piece.amount ? piece.text : link(piece.text, piece.id, piece.name));
      if (piece.last) {
        part.append(make("span", [piece.label, piece.id, piece.value].filter(Boolean).join(" · "), "tag"));
      }
    } else part = make("span", piece.text);
    if (piece.focus) part.classList.add("focus");
    else if (!piece.label && !whole && text.pieces.some((p) => p.focus)) part.classList.add("context");
    line.append(part);
  }
  item.append(line, make("p", [text.source, text.category, text.document].filter(Boolean).join(" · "), "from"));
  if (text.view.place) item.append(place(text));
  return item;
}

// Where a text stands in a document; for PDF with a picture of the page, loaded when it is opened.
function place({ view, document: id }) {
  if (!Object.keys(view.pages).length) return make("p", view.place, "from");
  const details = make("details"), pages = make("div", "", "pages");
  details.append(make("summary", view.place), pages);
  details.addEventListener("toggle", () => {
    if (!details.open || pages.childElementCount) return;
    showPages(pages, view, (page) => `/api/page?${new URLSearchParams({ document: id, page })}`);
    const kind = (label) => `l${Math.max(0, about.labels.indexOf(label)) % 8}`;
    drawBoxes(pages, view, view.boxes.flatMap((boxes, i) => boxes.map((box) => ({ box, kind: kind(view.labels[i]) }))));
  });
  return details;
}

// Questions and statements

const isNumber = (value) => typeof value === "number";

function cell(value, column, numeric) {
  const made = make("td", "", value === null ? "null" : numeric ? "number" : "");
  if (value === null) made.textContent = "–";
  else if (["company_id", "investor_id"].includes(column) && value !== "") made.append(link(String(value), String(value)));
  else made.textContent = isNumber(value) ? value.toLocaleString("en", { maximumFractionDigits: 4 }) : String(value);
  return made;
}

// How sure a row is: a number, and a bar as long as it.
function sure(p) {
  const made = make("td", "", "sure");
  if (p === null || p === undefined) made.textContent = "not known";
  else {
    const bar = make("span", "", "bar"), full = make("span");
    full.style.width = `${100 * p}%`;
    bar.append(full);
    made.append(p.toFixed(2), bar);
  }
  return made;
}

// Columns beside those of the answer, and which rows are as sure as was asked for.
function showConfidence(found) {
  const known = found.confidence.length > 0;
  const extra = (text, fill) => {
    const head = make("th", text);
    head.scope = "col";
    $("rows").tHead.rows[0].append(head);
    [...$("rows").tBodies[0].rows].forEach((row, i) => row.append(fill(i)));
  };
  if (known) extra(found.aggregated ? "mean confidence" : "confidence", (i) => sure(found.confidence[i]));
  if (known && found.aggregated && found.unread.length) {
    extra("above the threshold", (i) => make("td", `${found.unread[i][0]} of ${found.unread[i][1]}`));
  }
  $("certainty").textContent = found.certainty;
  $("leastbox").hidden = !known || found.aggregated;
  const steps = [0, 0.5, 0.8, 0.9, 0.95, 0.99];
  if (found.threshold && !steps.includes(found.threshold)) steps.push(found.threshold);
  $("least").replaceChildren(
    ...steps.sort((a, b) => a - b).map((p) => {
      const chosen = p === found.threshold ? " (accept)" : "";
      return new Option(p ? `at least ${p}${chosen}` : "any", p);
    }),
  );
  $("least").onchange = () => {
    const least = Number($("least").value), rows = [...$("rows").tBodies[0].rows];
    rows.forEach((row, i) => { row.hidden = least > 0 && !(found.confidence[i] >= least); });
    $("kept").textContent = least ? `${rows.filter((row) => !row.hidden).length} of ${plural(rows.length, "row")}` : "";
  };
  $("least").onchange();
}

function table(target, columns, rows) {
  const numeric = columns.map((_, i) => rows.some((r) => r[i] !== null) && rows.every((r) => r[i] === null || isNumber(r[i])));
  const head = make("thead"), line = make("tr"), body = make("tbody");
  columns.forEach((column, i) => {
    const made = make("th", column, numeric[i] ? "number" : "");
    made.scope = "col";
    line.append(made);
  });
  head.append(line);
  for (const row of rows) {
    const made = make("tr");
    row.forEach((value, i) => made.append(cell(value, columns[i].toLowerCase(), numeric[i])));
    body.append(made);
  }
  target.replaceChildren(head, body);
}

function tell(text, bad = false) {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
}

const MODEL = "A language model wrote this SQL. Check that it asks what you mean before you rely on the rows.";
const SOLVED = "This SQL comes with the question. No language model was asked.";

function credit(text) {
  $("author").textContent = text;
  $("author").hidden = !text;
}

async function answer(path, body, waiting, author = "") {
  for (const id of ["send", "run"]) $(id).disabled = true;
  tell(waiting);
  credit("");
  const begun = performance.now();
  try {
    const found = await ask(path, body);
    warn("");
    if (found.sql) $("sql").value = found.sql;
    if (found.sql) credit(author);
    $("newestbox").hidden = true;
    $("result").hidden = !!found.error;
    if (found.error) return tell(found.error, true);
    table($("rows"), found.columns, found.rows);
    showConfidence(found);
    $("sources").replaceChildren(...found.texts.map((text) => drawn(text)));
    $("sourcestitle").hidden = !found.texts.length;
    const parts = [plural(found.rows.length, "row")];
    if (found.truncated) parts[0] = `the first ${parts[0]}, there are more`;
    if (found.repaired) parts.push(`the model corrected its SQL ${plural(found.repaired, "time")}`);
    parts.push(`${((performance.now() - begun) / 1000).toFixed(1)} s`);
    tell(`${parts.join("; ")}.`);
  } catch (error) {
    $("result").hidden = true;
    tell(error.message, true);
  } finally {
    $("send").disabled = false;
    $("run").disabled = false;
  }
}

$("questionform").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (question) answer("/api/ask", { question }, "The language model writes SQL …", MODEL);
});
$("sqlform").addEventListener("submit", (event) => {
  event.preventDefault();
  const sql = $("sql").value.trim();
  if (sql) answer("/api/run", { sql }, "Running …");
});
$("sql").addEventListener("input", () => credit(""));
$("sql").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("sqlform").requestSubmit();
});

// Entities

function choose(number) {
  active = number;
  [...$("offers").children].forEach((item, i) => {
    item.setAttribute("aria-selected", String(i === active));
    if (i === active) item.scrollIntoView({ block: "nearest" });
  });
  if (active >= 0) $("search").setAttribute("aria-activedescendant", `offer-${active}`);
  else $("search").removeAttribute("aria-activedescendant");
}

function close() {
  $("offers").hidden = true;
  $("search").setAttribute("aria-expanded", "false");
  choose(-1);
}

async function search() {
  const typed = $("search").value.trim();
  asked += 1;
  const number = asked;
  if (!typed) {
    close();
    $("offered").textContent = "";
    return;
  }
  try {
    const found = await ask(`/api/search?${new URLSearchParams({ q: typed })}`);
    if (number !== asked) return;
    warn("");
    offers = found.entities;
    $("offers").replaceChildren(
      ...offers.map((offer, i) => {
        const item = make("li", offer.name);
        item.id = `offer-${i}`;
        item.setAttribute("role", "option");
        const names = offer.names.length ? `, also ${offer.names.join(", ")}` : "";
        item.append(" ", make("span", `${offer.id || "in no table"}, ${plural(offer.mentions, "mention")}${names}`, "more"));
        item.addEventListener("mousedown", (event) => event.preventDefault());
        item.addEventListener("click", () => show(offer.id ? { id: offer.id } : { name: offer.name }));
        return item;
      }),
    );
    $("offers").hidden = !offers.length;
    $("search").setAttribute("aria-expanded", String(offers.length > 0));
    $("offered").textContent = offers.length
      ? `${found.more ? "The first " : ""}${offers.length === 1 ? "1 entity" : `${offers.length} entities`}.`
      : "No name begins so.";
    choose(-1);
  } catch (error) {
    warn(error.message);
  }
}

$("search").addEventListener("input", search);
$("search").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (!offers.length || $("offers").hidden) return;
    choose((active + (event.key === "ArrowDown" ? 1 : offers.length - (active < 0 ? 0 : 1))) % offers.length);
  } else if (event.key === "Enter" && offers.length && !$("offers").hidden) {
    event.preventDefault();
    const offer = offers[Math.max(0, active)];
    show(offer.id ? { id: offer.id } : { name: offer.name });
  } else if (event.key === "Escape") close();
});

async function show(wanted, push = true) {
  try {
    const found = await ask(`/api/entity?${new URLSearchParams(wanted)}`);
    warn("");
    if (push) history.pushState(wanted, "", `#${new URLSearchParams(wanted)}`);
    open("entity", false);
    close();
    $("offered").textContent = "";
    $("search").value = found.name;
    $("name").textContent = found.name;
    const facts = Object.entries(found.entry).map(([key, value]) => `${key} ${value}`);
    const others = found.names.filter((name) => name !== found.name);
    $("facts").textContent = [
      found.id ? `id ${found.id}` : "in no table", ...facts, others.length ? `written ${others.join(", ")}` : "",
    ].filter(Boolean).join("; ");
    $("dealsbox").hidden = !found.deals.length;
    drawDeals($("deals"), found.deals);
    drawTies(found.ties);
    const more = found.documents > found.texts.length ? `, the first ${found.texts.length} texts of` : " in";
    $("mentionstitle").textContent = `${plural(found.mentions, "mention")}${more} ${plural(found.documents, "text")}`;
    $("mentions").replaceChildren(...found.texts.map((text) => drawn(text, true)));
    $("found").hidden = false;
    $("name").focus();
  } catch (error) {
    warn(error.message);
  }
}

function drawDeals(target, deals) {
  const dated = deals.some((deal) => deal.date), known = deals.some((deal) => deal.confidence !== null);
  const columns = [...(dated ? ["date"] : []), "company", "amount", "category", "investors", ...(known ? ["confidence"] : [])];
  const head = make("thead"), line = make("tr"), body = make("tbody");
  for (const column of columns) {
    const made = make("th", column, column === "amount" ? "number" : "");
    made.scope = "col";
    line.append(made);
  }
  head.append(line);
  for (const deal of deals) {
    const row = make("tr"), investors = make("td");
    if (dated) row.append(make("td", deal.date ?? "–"));
    const company = make("td");
    company.append(link(deal.company, deal.company_id));
    const amount = deal.amount === null ? "–" : `${deal.amount.toLocaleString("en")} ${deal.currency ?? ""}`;
    deal.investors.forEach((investor, i) => investors.append(i ? ", " : "", link(investor.name, investor.id)));
    row.append(company, make("td", amount, "number"), make("td", deal.category ?? "–"), investors);
    if (known) row.append(sure(deal.confidence));
    body.append(row);
  }
  target.replaceChildren(head, body);
}

function drawTies(ties) {
  $("tiesbox").hidden = !ties.length;
  $("ties").replaceChildren(
    ...ties.map((tie) => {
      const item = make("li");
      const how = tie.way === "to" ? `${tie.label} →` : `← ${tie.label}`;
      item.append(make("span", `${how} `, "label"), link(tie.name, tie.id), make("span", ` in ${plural(tie.documents, "text")}`, "label"));
      return item;
    }),
  );
}

// The address holds the entity, so that back and forward work and a link can be passed on.
function follow() {
  const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  if (wanted.id || wanted.name) show(wanted, false);
  else $("found").hidden = true;
}
window.addEventListener("popstate", follow);

try {
  about = await ask("/api/about");
  $("counts").textContent = ["documents", "companies", "mentions", "relations", "deals"]
    .filter((name) => about.counts[name])
    .map((name) => `${about.counts[name].toLocaleString("en")} ${name}`)
    .join(" · ");
  for (const [name, columns] of Object.entries(about.schema)) {
    $("schema").append(make("dt", name), make("dd", columns.join(", ")));
  }
} catch (error) {
  warn(error.message);
}
follow();
if ($("found").hidden) open("ask");

try {
  const opening = await ask("/api/opening");
  $("examples").replaceChildren(
    ...opening.questions.map(({ question, sql }) => {
      const item = make("li"), button = make("button", question);
      button.type = "button";
      button.addEventListener("click", () => {
        $("question").value = question;
        answer("/api/run", { sql }, "Running …", SOLVED);
      });
      item.append(button);
      return item;
    }),
  );
  $("start").hidden = !opening.questions.length;
  drawDeals($("newest"), opening.deals);
  $("newesttitle").textContent = opening.deals.some((deal) => deal.date) ? "Newest deals" : "Some deals";
  $("newestbox").hidden = !opening.deals.length || !$("result").hidden;
} catch {
  // the page works without them
}
document.body.dataset.ready = "true";
