// Who worked when: a lane for each engine, grader and learner. Boxes are drawn on uPlot's canvas, which zooms by dragging.
import { $, PALETTE, ask, css, dark, make, nameOf, state, table } from "./page.js";
import { drawing } from "./charts.js";

const KINDS = [["sample", PALETTE[5]], ["grade", PALETTE[2]], ["update", PALETTE[1]], ["load", PALETTE[3]], ["publish", PALETTE[7]],
  ["checkpoint", PALETTE[6]], ["start", PALETTE[4]], ["restore", PALETTE[4]]];
const colourOf = (what) => (KINDS.find(([kind]) => what.startsWith(kind)) ?? ["", PALETTE[6]])[1];

export async function drawTimeline() {
  const into = $("timeline-plots");
  if (!state.chosen.length) return drawing(into, () => {});
  const first = $("timeline-from").value, last = $("timeline-to").value;
  const query = last === "" && first === "" ? "last=-5" : `first=${first || 0}&last=${last || 1000000}`;
  const said = await ask(`/api/runs/${state.chosen[0]}/timeline?${query}`);
  $("timeline-note").textContent = said.spans.length ? `${nameOf(state.chosen[0])}: updates ${said.spans[0][0]} to ${said.spans.at(-1)[0]}. ` +
    "A box: the part was asked for something and had not answered yet; no box: it waited. Drag to zoom, double click to see all." : "Nothing is recorded yet.";
  const parts = [...new Set(said.spans.map((span) => span[1]))].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  if (!parts.length) { $("timeline-busy").replaceChildren(); return drawing(into, () => {}); }
  const zero = Math.min(...said.spans.map((span) => span[3])), end = Math.max(...said.spans.map((span) => span[4]));
  const events = said.events.map((event) => ({ ...event, at: event.time - zero }));
  const boxes = (chart) => {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const [, part, what, from, to] of said.spans) {
      const lane = parts.indexOf(part);
      const left = chart.valToPos(from - zero, "x", true), right = chart.valToPos(to - zero, "x", true);
      const top = chart.valToPos(lane - 0.38, "y", true), bottom = chart.valToPos(lane + 0.38, "y", true);
      ctx.fillStyle = colourOf(what);
      ctx.fillRect(left, Math.min(top, bottom), Math.max(1, right - left), Math.abs(bottom - top));
    }
    ctx.fillStyle = css("--hack");
    for (const event of events) ctx.fillRect(chart.valToPos(event.at, "x", true) - 1, bbox.top, 3, bbox.height);
    ctx.restore();
  };
  const under = (chart) => {
    const { left, top } = chart.cursor;
    if (left < 0) return;
    const time = chart.posToVal(left, "x") + zero, lane = Math.round(chart.posToVal(top, "y"));
    const span = said.spans.find(([, part, , from, to]) => parts[lane] === part && from <= time && time <= to);
    $("timeline-here").textContent = span ? `${span[1]}: ${span[2]}, ${(span[4] - span[3]).toFixed(2)} s, update ${span[0]}`
      : `${parts[lane] ?? ""} waits`;
  };
  const lanes = { splits: () => parts.map((_, i) => i), values: () => parts, size: 84, grid: { show: false }, ticks: { show: false } };
  drawing(into, (add) => add("timeline", "Who worked when", [[0, end - zero], [0, 0]], [{ label: "", stroke: "transparent", points: { show: false } }], {
    x: "seconds", height: 90 + 30 * parts.length, yAxis: lanes, legend: { show: false }, hooks: { draw: [boxes], setCursor: [under] },
    scales: { x: { time: false }, y: { range: [-0.6, parts.length - 0.4], dir: -1 } },
    signature: JSON.stringify([state.chosen[0], said.spans.length, zero, end, parts, dark()]),
  }));
  $("timeline-key").replaceChildren(...KINDS.filter(([kind]) => said.spans.some((span) => span[2].startsWith(kind))).map(([kind, colour]) => {
    const one = make("span", kind, "key");
    one.style.borderLeftColor = colour;
    return one;
  }));
  const rows = parts.map((part) => {
    const mine = said.spans.filter((span) => span[1] === part);
    const busy = covered(mine);
    return [part, `${busy.toFixed(2)} s`, `${(end - zero - busy).toFixed(2)} s`, `${Math.round((100 * busy) / (end - zero || 1))}%`];
  });
  $("timeline-busy").replaceChildren(table(["part", "worked", "waited", "worked of the whole"], rows), make("h2", "Versions and deaths"), happened(said.spans, events, zero));
}

// Seconds in which at least one span is open.
function covered(spans) {
  let total = 0, until = -Infinity;
  for (const [, , , from, to] of [...spans].sort((a, b) => a[3] - b[3])) {
    total += Math.max(0, to - Math.max(from, until));
    until = Math.max(until, to);
  }
  return total;
}

function happened(spans, events, zero) {
  const loads = spans.filter((span) => span[2].startsWith("load") || span[2].startsWith("publish"))
    .map((span) => [span[4] - zero, span[1], `${span[2]}: done`]);
  const all = [...loads, ...events.map((event) => [event.at, event.part, event.what])].sort((a, b) => a[0] - b[0]);
  return all.length ? table(["second", "part", "what"], all.map(([at, part, what]) => [at.toFixed(2), part, what])) : make("p", "none", "note");
}

export function startTimeline() {
  for (const id of ["timeline-from", "timeline-to"]) $(id).addEventListener("input", drawTimeline);
}
