// Two runs side by side: what differs, what came out, and what they answered to the same prompt.
import { $, ask, make, nameOf, number, runOf, state, table } from "./page.js";
import { text } from "./rollouts.js";

const shown = { key: "" };

export async function drawBeside() {
  const [first, second] = pair();
  if (second === undefined) { $("beside-body").replaceChildren(make("p", "Choose two runs.", "note")); shown.key = ""; return; }
  const said = await ask(`/api/compare?first=${first}&second=${second}`);
  const update = $("beside-update");
  if (update.value === "" && said.updates.length) update.value = said.updates.at(-1);
  const names = [first, second].map(nameOf);
  const numbers = said.metrics.map(([name, a, b]) => [name, a.toPrecision(4), b.toPrecision(4), `${b >= a ? "+" : "−"}${Math.abs(b - a).toPrecision(3)}`]);
  const range = said.over.length ? `means over updates ${said.over[0]} to ${said.over.at(-1)}` : "no update is in both";
  const left = make("div"), right = make("div"), both = make("div", null, "two");
  left.append(make("h2", "What differs"), said.fields.length ? table(["field", ...names], said.fields) : make("p", "Nothing but what came out.", "note"));
  right.append(make("h2", `Metrics, ${range}`), table(["metric", ...names, "difference"], numbers));
  both.append(left, right);
  $("beside-body").replaceChildren(both);
  await drawGroups(first, second);
}

function pair() {
  const ids = state.chosen.slice(0, 2);
  return ids.filter((id) => runOf(id));
}

async function drawGroups(first, second) {
  const update = $("beside-update").value;
  if (update === "") return $("beside-groups").replaceChildren();
  const found = await ask(`/api/runs/${first}/rollouts?update=${update}&limit=500`);
  const groups = [...new Map(found.rows.map((row) => [row.group, row])).values()];
  const choose = $("beside-group"), before = choose.value;
  choose.replaceChildren(...groups.map((row) => {
    const option = make("option", `problem ${row.problem_id}, ${row.mode}`);
    option.value = row.group;
    return option;
  }));
  if (groups.some((row) => String(row.group) === before)) choose.value = before;
  if (choose.value === "") return $("beside-groups").replaceChildren(make("p", "no rollouts in this update", "note"));
  const key = JSON.stringify([first, second, update, choose.value]);
  if (key === shown.key) return;
  shown.key = key;
  const sides = await Promise.all([first, second].map((id) => ask(`/api/runs/${id}/groups/${update}/${choose.value}`)));
  const both = make("div", null, "two");
  sides.forEach((side, i) => {
    const column = make("div");
    column.append(make("h2", nameOf([first, second][i])));
    if (side.rows.length) column.append(make("pre", side.rows[0].prompt));
    else column.append(make("p", "this run has no such group", "note"));
    for (const one of side.rows) {
      const head = make("p", null, "note");
      head.append(make("b", one.outcome ?? "", one.outcome), ` · label ${one.label} · score ${number(one.score)} · reward ${number(one.reward, 1)}`);
      column.append(head, text(one.text));
    }
    both.append(column);
  });
  $("beside-groups").replaceChildren(both);
}

export function startBeside() {
  for (const id of ["beside-update", "beside-group"]) $(id).addEventListener("input", drawBeside);
}
