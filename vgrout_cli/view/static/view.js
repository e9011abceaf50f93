// The page of `vgrout view`. What a model wrote reaches the screen as text nodes alone, never as markup.
"use strict";

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000"];
const CURVES = [
  ["rate/hack", "hack rate"], ["rate/solve", "solve rate"], ["reward/mean", "mean reward"],
  ["gate/share_clean", "share labelled clean"], ["gate/share_mid", "share labelled mid"], ["gate/share_hack", "share labelled hack"],
  ["loss", "loss"], ["grad_norm/total", "gradient norm"], ["grad_norm/quarantine_share", "quarantine share of the squared gradient"],
  ["kl/reference", "KL to the base (nats per token)"], ["entropy", "entropy (nats per token)"], ["tokens_per_second", "tokens per second"],
  ["mismatch/kl", "engine against learner, KL (nats)"], ["completions/mean_length", "completion length (tokens)"], ["lr", "learning rate"],
];
const STAGES = [["time/generate", "generate"], ["time/grade", "grade"], ["time/update", "update"], ["time/publish", "publish"]];
const PAGE = 50;
const POLL_MS = 1000;

const state = { tab: "runs", runs: [], chosen: [], metrics: new Map(), offset: 0, total: 0, drawn: "" };

const $ = (id) => document.getElementById(id);
const make = (tag, text, name) => {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (name) node.className = name;
  return node;
};
const number = (value, digits = 3) => (typeof value === "number" ? value.toFixed(digits) : "");
const field = (row, name) => row[name] ?? null;

async function ask(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

function showRuns() {
  const body = $("run-table").tBodies[0];
  body.replaceChildren(...state.runs.map((run) => {
    const row = make("tr", null, state.chosen.includes(run.id) ? "on" : "");
    const box = make("input");
    box.type = "checkbox";
    box.checked = state.chosen.includes(run.id);
    box.setAttribute("aria-label", `choose ${run.name}`);
    const first = make("td");
    first.append(box);
    row.append(first, make("td", run.name), make("td", run.arm), make("td", run.seed), make("td", run.state),
      make("td", `${run.updates}/${run.planned}`), make("td", number(run.hack), "hack"), make("td", number(run.solve), "solve"));
    row.addEventListener("click", () => choose(run.id));
    return row;
  }));
}

function choose(id) {
  state.chosen = state.chosen.includes(id) ? state.chosen.filter((one) => one !== id) : [...state.chosen, id];
  state.drawn = "";
  state.offset = 0;
  showRuns();
}

async function follow(id) {
  const known = state.metrics.get(id) ?? { generation: 0, rows: [] };
  const said = await ask(`/api/runs/${id}/metrics?since=${known.rows.length}&generation=${known.generation}`);
  const rows = said.start === 0 ? said.rows : [...known.rows, ...said.rows];
  state.metrics.set(id, { generation: said.generation, rows });
}

function nameOf(id) {
  const run = state.runs.find((one) => one.id === id);
  return run ? `${run.arm} ${run.seed} (${run.name})` : String(id);
}

function plot(into, title, data, series, extra = {}) {
  const box = make("div", null, "plot");
  box.append(make("h2", title));
  into.append(box);
  const ink = getComputedStyle(document.body).getPropertyValue("--dim");
  const grid = { stroke: getComputedStyle(document.body).getPropertyValue("--line"), width: 1 };
  const axes = [{ stroke: ink, grid, label: extra.x ?? "update", labelSize: 18, size: 34 }, { stroke: ink, grid, size: 56 }];
  const width = Math.max(280, box.clientWidth - 20);
  return new uPlot({ width, height: 200, scales: { x: { time: false } }, axes, series: [{ label: extra.x ?? "update" }, ...series], ...extra.options },
    data, box);
}

function drawCurves() {
  const into = $("curve-plots");
  into.replaceChildren();
  const updates = [...new Set(state.chosen.flatMap((id) => (state.metrics.get(id)?.rows ?? []).map((row) => row.update)))].sort((a, b) => a - b);
  for (const [name, title] of CURVES) {
    const lines = state.chosen.map((id) => {
      const of = new Map((state.metrics.get(id)?.rows ?? []).map((row) => [row.update, field(row, name)]));
      return updates.map((update) => of.get(update) ?? null);
    });
    if (!lines.some((line) => line.some((value) => value !== null))) continue;
    const series = state.chosen.map((id, i) => ({ label: nameOf(id), stroke: COLOURS[i % COLOURS.length], width: 2 }));
    plot(into, title, [updates, ...lines], series);
  }
  drawLoopholes(into);
}

function drawLoopholes(into) {
  for (const id of state.chosen) {
    const rows = state.metrics.get(id)?.rows ?? [];
    const modes = [...new Set(rows.flatMap((row) => Object.keys(row.per_mode ?? {})))].filter((mode) => mode !== "all").sort();
    const lines = modes.map((mode) => rows.map((row) => (row.per_mode?.[mode]?.n ? row.per_mode[mode].hack / row.per_mode[mode].n : null)));
    const series = modes.map((mode, i) => ({ label: mode, stroke: COLOURS[i % COLOURS.length], width: 2 }));
    if (modes.length) plot(into, `hack rate by loophole, ${nameOf(id)}`, [rows.map((row) => row.update), ...lines], series);
  }
}

function drawTime() {
  const into = $("time-plots");
  into.replaceChildren();
  for (const id of state.chosen) {
    const rows = state.metrics.get(id)?.rows ?? [];
    const lines = STAGES.map(([name]) => rows.map((row) => field(row, name)));
    const series = STAGES.map(([, label], i) => ({ label, stroke: COLOURS[i], width: 2 }));
    plot(into, nameOf(id), [rows.map((row) => row.update), ...lines], series);
  }
}

async function drawScores() {
  const into = $("score-plots");
  into.replaceChildren();
  if (!state.chosen.length) return;
  const said = await ask(`/api/runs/${state.chosen[0]}/scores`);
  const middle = said.edges.slice(0, -1).map((edge, i) => (edge + said.edges[i + 1]) / 2);
  for (const one of said.updates) {
    const series = [
      { label: "hack", stroke: COLOURS[1], fill: `${COLOURS[1]}55`, paths: uPlot.paths.stepped({ align: 1 }) },
      { label: "not hack", stroke: COLOURS[0], width: 2, paths: uPlot.paths.stepped({ align: 1 }) },
    ];
    const shade = (chart) => {
      if (!one.band || one.band[0] === null) return;
      const [from, to] = one.band.map((edge) => chart.valToPos(edge, "x", true));
      chart.ctx.fillStyle = "rgba(150, 150, 150, .35)";
      chart.ctx.fillRect(from, chart.bbox.top, Math.max(2, to - from), chart.bbox.height);
    };
    plot(into, `update ${one.update}`, [middle, one.hack, one.other], series, { x: "score", options: { hooks: { drawAxes: [shade] } } });
  }
}

async function searchRollouts() {
  const body = $("rollout-table").tBodies[0];
  if (!state.chosen.length) {
    $("found").textContent = "Choose a run first.";
    body.replaceChildren();
    return;
  }
  const query = new URLSearchParams(new FormData($("filter")));
  query.set("offset", state.offset);
  query.set("limit", PAGE);
  const began = performance.now();
  const said = await ask(`/api/runs/${state.chosen[0]}/rollouts?${query}`);
  state.total = said.total;
  const last = Math.min(state.offset + PAGE, said.total);
  $("found").textContent = `${said.total} rollouts of ${nameOf(state.chosen[0])}; ${said.total ? state.offset + 1 : 0} to ${last}; ` +
    `${Math.round(performance.now() - began)} ms`;
  body.replaceChildren(...said.rows.map((one) => {
    const row = make("tr");
    row.append(make("td", one.update), make("td", one.id), make("td", one.mode), make("td", one.outcome, one.outcome), make("td", number(one.reward, 1)),
      make("td", number(one.score)), make("td", one.label), make("td", number(one.advantage, 2)), make("td", one.preview, "text"));
    row.addEventListener("click", () => showRollout(one.update, one.id));
    return row;
  }));
}

async function showRollout(update, id) {
  const one = await ask(`/api/runs/${state.chosen[0]}/rollouts/${update}/${encodeURIComponent(id)}`);
  const facts = make("dl");
  const audit = one.audit ?? {};
  const said = [["rollout", `${one.id}, update ${one.update}, problem ${one.problem_id}`], ["loophole", one.mode], ["outcome", one.outcome], ["verdict", audit.status],
    ["mechanism", audit.mechanism], ["reward", number(one.reward, 1)], ["score", number(one.score, 4)], ["label", one.label],
    ["advantage", number(one.advantage)], ["sampled by", `${one.sampling}, version ${one.version}`], ["notes", JSON.stringify(audit.notes ?? {})]];
  for (const [name, value] of said) facts.append(make("dt", name), make("dd", value));
  const text = make("pre");
  text.append(...one.text.map(([kind, piece]) => make("span", piece, kind)));
  $("one").replaceChildren(facts, make("h2", "prompt"), make("pre", one.prompt), make("h2", "completion"), text);
}

async function draw() {
  const key = JSON.stringify([state.tab, state.chosen, state.chosen.map((id) => state.metrics.get(id)?.rows.length ?? 0)]);
  if (key === state.drawn) return;
  state.drawn = key;
  if (state.tab === "curves") drawCurves();
  if (state.tab === "time") drawTime();
  if (state.tab === "scores") await drawScores();
  if (state.tab === "rollouts") await searchRollouts();
}

async function poll() {
  try {
    state.runs = await ask("/api/runs");
    if (!state.chosen.length && state.runs.length === 1) state.chosen = [state.runs[0].id];
    showRuns();
    await Promise.all(state.chosen.map(follow));
    await draw();
    $("status").textContent = state.runs.some((run) => run.state === "running") ? "following" : "nothing is running";
  } catch (error) {
    $("status").textContent = `no answer (${error.message})`;
  }
  setTimeout(poll, POLL_MS);
}

for (const button of $("tabs").children) {
  button.addEventListener("click", () => {
    state.tab = button.dataset.tab;
    for (const other of $("tabs").children) other.classList.toggle("on", other === button);
    for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== state.tab;
    state.drawn = "";
    draw();
  });
}
$("filter").addEventListener("submit", (event) => event.preventDefault());
$("filter").addEventListener("input", () => { state.offset = 0; searchRollouts(); });
$("previous").addEventListener("click", () => { state.offset = Math.max(0, state.offset - PAGE); searchRollouts(); });
$("next").addEventListener("click", () => { if (state.offset + PAGE < state.total) state.offset += PAGE; searchRollouts(); });
poll();
