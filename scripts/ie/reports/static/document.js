// Pictures of the pages of a document, with a box around each span. Used by the review page and by explore.

function node(tag, kind, text = "") {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = text;
  return made;
}

// One page: its picture, and boxes {page, box, kind} over it. `sizes` maps a page to its width and height in points.
function page(number, sizes, address) {
  const figure = node("figure", "page");
  const picture = node("img", "");
  picture.alt = `Page ${number}`;
  picture.addEventListener("error", async () => {
    const response = await fetch(address).catch(() => null);
    const answer = response ? await response.json().catch(() => ({})) : {};
    figure.replaceChildren(node("p", "missing", answer.error || "The page can't be shown."));
  });
  picture.addEventListener("load", () => figure.classList.add("loaded"));
  picture.src = address;
  figure.dataset.page = number;
  const [width, height] = sizes[number];
  figure.style.aspectRatio = `${width} / ${height}`;
  figure.append(picture, node("figcaption", "unseen", `Page ${number}`));
  return figure;
}

// Put the pages of a view into an element; `address` gives the address of a page's picture.
export function showPages(target, view, address) {
  target.replaceChildren(...Object.keys(view.pages).map((number) => page(number, view.pages, address(number))));
}

// Draw boxes: {box: [page, left, top, right, bottom], kind: a class}; the first one is scrolled to.
export function drawBoxes(target, view, marks, scroll = true) {
  for (const old of target.querySelectorAll(".box")) old.remove();
  let first = null;
  for (const { box: [number, left, top, right, bottom], kind } of marks) {
    const figure = target.querySelector(`[data-page="${number}"]`);
    if (!figure || !figure.querySelector("img")) continue;
    const [width, height] = view.pages[number];
    const drawn = node("span", `box ${kind}`);
    drawn.style.left = `${(100 * left) / width}%`;
    drawn.style.top = `${(100 * top) / height}%`;
    drawn.style.width = `${(100 * (right - left)) / width}%`;
    drawn.style.height = `${(100 * (bottom - top)) / height}%`;
    figure.append(drawn);
    if (!first || kind.includes("chosen")) first = drawn;
  }
  if (first && scroll) target.scrollTop += first.getBoundingClientRect().top - target.getBoundingClientRect().top - target.clientHeight / 3;
}
