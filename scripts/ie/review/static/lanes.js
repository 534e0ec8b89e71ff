// Spans that may overlap, drawn as bars in lanes below their words.

const PAD = 4; // pixels between the edge of a bar and its label, and between a label and the next bar

// A lane for each span, 0 being next to the words. No two spans of a lane share a cell, and a span is below all
// that lie in it. `meet` says whether the drawings of two spans, by number, would touch each other in one lane.
export function assignLanes(spans, meet = () => false) {
  const size = ({ first, end }) => end - first;
  const order = [...spans.keys()].sort((a, b) => size(spans[a]) - size(spans[b]) || a - b);
  const lanes = [];
  order.forEach((n, place) => {
    const span = spans[n];
    const taken = new Set();
    let lane = 0;
    for (const m of order.slice(0, place)) {
      const other = spans[m];
      if (span.first <= other.first && other.end <= span.end) lane = Math.max(lane, lanes[m] + 1);
      if ((span.first < other.end && other.first < span.end) || meet(n, m)) taken.add(lanes[m]);
    }
    while (taken.has(lane)) lane += 1;
    lanes[n] = lane;
  });
  return lanes;
}

// Draw the bars of spans {first, end, label, kind: classes} into `box`, whose other children are the pieces of the
// text: gap, cell, gap, cell, ..., gap. A bar has the number of its span as `data-span`.
export function drawLanes(box, spans) {
  for (const old of box.querySelectorAll(".lane")) old.remove();
  const pieces = [...box.children];
  measureLabels(box, spans);
  // Where the bars are depends on the room for the lanes, and the lanes on which bars touch. This is soon settled:
  // room moves lines down, and divides them elsewhere only if it brings a scroll bar.
  let lanes = assignLanes(spans);
  let bars = [];
  for (let tries = 0; tries < 4; tries += 1) {
    makeRoom(pieces, spans, lanes);
    bars = barsOf(box, pieces, spans);
    const next = assignLanes(spans, (a, b) => bars[a].some((one) => bars[b].some((other) => touch(one, other))));
    if (String(next) === String(lanes)) break;
    lanes = next;
  }
  const frame = box.getBoundingClientRect();
  const origin = { left: frame.left + box.clientLeft - box.scrollLeft, top: frame.top + box.clientTop - box.scrollTop };
  box.append(...spans.flatMap((span, n) => bars[n].map((bar) => drawn(span, n, lanes[n], bar, origin))));
}

// An empty element in each cell of a span makes its line higher, below the words alone. It adds nothing that could
// change how letters join, where a line breaks or which way it runs.
function makeRoom(pieces, spans, lanes) {
  const depth = new Map();
  spans.forEach(({ first, end }, n) => {
    for (let i = first; i < end; i += 1) depth.set(i, Math.max(depth.get(i) ?? 0, lanes[n] + 1));
  });
  for (const [i, lines] of depth) {
    const cell = pieces[2 * i + 1];
    if (!cell.firstElementChild) cell.append(node("strut"));
    cell.firstElementChild.style.setProperty("--depth", lines);
  }
}

function node(kind, text = "") {
  const made = document.createElement("span");
  made.className = kind;
  made.textContent = text;
  return made;
}

const widths = new Map(); // of labels

function measureLabels(box, spans) {
  const unknown = new Set(spans.map((span) => span.label).filter((label) => !widths.has(label)));
  const probe = node("lane");
  probe.append(...[...unknown].map((label) => node("lane-label", label)));
  if (unknown.size) box.append(probe);
  for (const label of probe.children) widths.set(label.textContent, label.getBoundingClientRect().width);
  probe.remove();
}

// The bars of each span.
function barsOf(box, pieces, spans) {
  const frame = box.getBoundingClientRect();
  const rtl = getComputedStyle(box).direction === "rtl";
  return spans.map((span) => barsOfOne(pieces, span, frame, rtl));
}

// One bar for each line and direction of writing: where it is on the screen, where its label begins (null: it has
// none), and how far both together reach. The first bar always has the label, the others if it fits.
function barsOfOne(pieces, { first, end, label }, frame, rtl) {
  const width = widths.get(label);
  const bars = [];
  for (const piece of pieces.slice(2 * first + 1, 2 * end)) {
    for (const rect of piece.getClientRects()) {
      const left = Math.max(rect.left, frame.left);
      const right = Math.min(rect.right, frame.right);
      if (right <= left) continue;
      const next = bars.find((bar) => onLine(bar, rect) && left < bar.right + 1 && bar.left < right + 1);
      if (next) Object.assign(next, { left: Math.min(next.left, left), right: Math.max(next.right, right) });
      else bars.push({ left, right, bottom: rect.bottom });
    }
  }
  for (const bar of bars) {
    const fits = width + 2 * PAD <= bar.right - bar.left;
    bar.label = bar.from = bar.to = null;
    if (fits || bar === bars[0]) {
      const start = rtl ? bar.right - PAD - width : bar.left + PAD;
      bar.label = Math.max(frame.left + PAD, Math.min(start, frame.right - width - PAD));
    }
    bar.from = bar.label === null || fits ? bar.left : Math.min(bar.left, bar.label - PAD);
    bar.to = bar.label === null || fits ? bar.right : Math.max(bar.right, bar.label + width + PAD);
  }
  return bars;
}

const onLine = (bar, rect) => Math.abs(bar.bottom - rect.bottom) < rect.height / 2;
const touch = (a, b) => Math.abs(a.bottom - b.bottom) < 2 && a.from < b.to - 0.5 && b.from < a.to - 0.5;

function drawn({ label, kind }, n, lane, bar, origin) {
  const made = node(`lane ${kind}`);
  made.dataset.span = n;
  made.ariaHidden = "true"; // the list of spans says the same
  made.style.setProperty("--lane", lane);
  made.style.left = `${bar.left - origin.left}px`;
  made.style.top = `${bar.bottom - origin.top}px`;
  made.style.width = `${bar.right - bar.left}px`;
  if (bar.label !== null) {
    made.append(node("lane-label", label));
    made.firstChild.style.left = `${bar.label - bar.left}px`;
  }
  return made;
}
