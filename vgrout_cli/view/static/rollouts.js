// The rollout browser. What a model wrote reaches the screen as text nodes alone, never as markup.
import { $, PALETTE, ask, make, nameOf, number, state } from "./page.js";
import { drawing } from "./charts.js";

const PAGE = 50;
const at = { offset: 0, total: 0, asked: 0 };

export async function searchRollouts() {
  const body = $("rollout-table").tBodies[0];
  if (!state.chosen.length) {
    $("found").textContent = "Choose a run first.";
    return body.replaceChildren();
  }
  const query = new URLSearchParams(new FormData($("filter")));
  query.set("offset", at.offset);
  query.set("limit", PAGE);
  const began = performance.now(), number_ = ++at.asked;
  const said = await ask(`/api/runs/${state.chosen[0]}/rollouts?${query}`);
  if (number_ !== at.asked) return; // a later question is on its way
  at.total = said.total;
  const last = Math.min(at.offset + PAGE, said.total);
  $("found").textContent = `${said.total} rollouts of ${nameOf(state.chosen[0])}; ${said.total ? at.offset + 1 : 0} to ${last}; ` +
    `${Math.round(performance.now() - began)} ms`;
  body.replaceChildren(...said.rows.map((one) => {
    const row = make("tr");
    row.append(make("td", one.update), make("td", one.id), make("td", one.mode), make("td", one.outcome, one.outcome), make("td", number(one.reward, 1)),
      make("td", number(one.score)), make("td", one.label), make("td", number(one.advantage, 2)), make("td", one.preview, "text"));
    row.addEventListener("click", async () => {
      for (const other of body.rows) other.classList.toggle("on", other === row);
      const whole = await ask(`/api/runs/${state.chosen[0]}/rollouts/${one.update}/${encodeURIComponent(one.id)}`);
      $("one").replaceChildren(...card(whole));
      layers($("one"), whole);
      if (innerWidth <= 1000) $("one").scrollIntoView(); // there it stands below the table
    });
    return row;
  }));
}

export function text(pieces) {
  const node = make("pre");
  node.append(...pieces.map(([kind, piece]) => make("span", piece, kind)));
  return node;
}

// Everything that is known of one rollout.
export function card(one) {
  const facts = make("dl");
  const audit = one.audit ?? {};
  const said = [["rollout", `${one.id}, update ${one.update}, problem ${one.problem_id}`], ["loophole", one.mode], ["outcome", one.outcome],
    ["verdict", audit.status], ["mechanism", audit.mechanism], ["reward", number(one.reward, 1)], ["score", number(one.score, 4)], ["label", one.label],
    ["advantage", number(one.advantage)], ["sampled by", `${one.sampling}, version ${one.version}`], ["notes", JSON.stringify(audit.notes ?? {})]];
  for (const [name, value] of said) if (value) facts.append(make("dt", name), make("dd", value));
  return [facts, make("div", null, "plots layers"), make("h2", "prompt, with its hint"), make("pre", one.prompt), make("h2", "completion"), text(one.text)];
}

// The score's parts over the layers of the model.
export function layers(into, one) {
  const values = one.layer_scores ?? [];
  if (!values.length) return;
  const bars = { label: "score", stroke: PALETTE[0], fill: `${PALETTE[0]}88`, paths: uPlot.paths.bars({ size: [0.7, 60] }), points: { show: false } };
  drawing(into.querySelector(".layers"), (add) => add("layers", "c-probe: score of every layer", [values.map((_, i) => i), values], [bars],
    { x: "layer", y: "cosine", height: 180, legend: { show: false }, scales: { x: { time: false, range: [-0.6, values.length - 0.4] } } }));
}

export function startRollouts() {
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  $("filter").addEventListener("input", () => { at.offset = 0; searchRollouts(); });
  $("previous").addEventListener("click", () => { at.offset = Math.max(0, at.offset - PAGE); searchRollouts(); });
  $("next").addEventListener("click", () => { if (at.offset + PAGE < at.total) at.offset += PAGE; searchRollouts(); });
}
export const firstPage = () => { at.offset = 0; };
