// The page tries the service from outside, as any program would.
const $ = (id) => document.getElementById(id);

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {};
  const response = await fetch(path, options);
  return [response.ok, await response.json()];
}

// Offsets count characters; JavaScript's strings count UTF-16 units.
function marked(record, labels) {
  const letters = [...record.text];
  const out = document.createDocumentFragment();
  let at = 0;
  for (const span of record.spans ?? []) {
    out.append(letters.slice(at, span.start).join(""));
    const mark = document.createElement("mark");
    mark.className = `l${labels.indexOf(span.label) % 8}`;
    const tag = document.createElement("b");
    tag.textContent = [span.label, span.kb_id, span.value].filter(Boolean).join(" · ");
    mark.append(letters.slice(span.start, span.end).join(""), tag);
    out.append(mark);
    at = span.end;
  }
  out.append(letters.slice(at).join(""));
  return out;
}

$("try").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const [ok, found] = await ask("/annotate", { texts: [$("text").value] });
    const labels = ok ? [...new Set((found.records[0].spans ?? []).map((s) => s.label))].sort() : [];
    $("marked").replaceChildren(ok ? marked(found.records[0], labels) : found.error);
    $("answer").textContent = JSON.stringify(found, null, 2);
    $("answer").hidden = !ok;
  } catch {
    $("marked").textContent = "The server doesn't answer.";
  }
});

$("here").textContent = location.origin;
const [[ready, state], [, api]] = await Promise.all([ask("/ready"), ask("/openapi.json")]);
$("pipeline").textContent = ready ? `${state.pipeline.name} ${state.pipeline.version}: ${state.pipeline.components}` : state.error;
const { texts } = api.components.schemas.Batch.properties;
// Keep what was typed in the meantime.
$("text").value ||= texts.examples[0][0];
for (const [name, value] of [["texts a request, at most", texts.maxItems], ["characters a text, at most", texts.items.maxLength]]) {
  const term = document.createElement("dt"), data = document.createElement("dd");
  term.textContent = name;
  data.textContent = value.toLocaleString("en");
  $("limits").append(term, data);
}
