// The page of `vgrout view`: tabs over the chosen runs, asked for anew every second.
import { $, PALETTE, ask, css, make, nameOf, number, rowsOf, state } from "./page.js";
import { CURVES, drawing, line, lines, modesOf, rateOf, redrawAll, several } from "./charts.js";
import { card, firstPage, layers, searchRollouts, startRollouts } from "./rollouts.js";
import { drawTimeline, startTimeline } from "./timeline.js";
import { drawBeside, startBeside } from "./beside.js";

const POLL_MS = 1000;

function showRuns() {
  const body = $("run-table").tBodies[0];
  const key = JSON.stringify([state.runs, state.chosen]);
  if (key === showRuns.key) return; // a click is not lost between two answers
  showRuns.key = key;
  body.replaceChildren(...state.runs.map((run) => {
    const row = make("tr", null, state.chosen.includes(run.id) ? "on" : "");
    const box = make("input");
    box.type = "checkbox";
    box.checked = state.chosen.includes(run.id);
    box.setAttribute("aria-label", `choose ${run.name}`);
    const first = make("td");
    first.append(box);
    row.append(first, make("td", run.name), make("td", run.title), make("td", run.seed), make("td", run.state, run.state),
      make("td", `${run.updates}/${run.planned}`), make("td", number(run.hack), "hack"), make("td", number(run.solve), "solve"));
    row.addEventListener("click", () => choose(run.id));
    return row;
  }));
  $("chosen").textContent = state.chosen.length ? `chosen: ${state.chosen.map(nameOf).join(", ")}` : "no run is chosen";
}

function showSuites() {
  const key = JSON.stringify([state.suites, state.chosen]);
  if (key === showSuites.key) return;
  showSuites.key = key;
  $("suites").replaceChildren(...state.suites.flatMap((suite) => {
    const grid = make("table", null, "grid");
    const head = make("tr");
    head.append(make("th", "arm"), ...suite.seeds.map((seed) => make("th", `seed ${seed}`)));
    grid.createTHead().append(head);
    const body = grid.createTBody();
    suite.titles.forEach((arm, i) => {
      const row = make("tr");
      row.append(make("th", arm), ...suite.cells[i].map((cell) => {
        const box = make("td", null, cell.id !== undefined && state.chosen.includes(cell.id) ? "on" : "");
        box.append(make("b", cell.state, cell.state));
        if (cell.planned) box.append(make("span", ` ${cell.updates}/${cell.planned}`));
        if (typeof cell.hack === "number") box.append(make("br"), make("span", `hack ${number(cell.hack, 2)}`, "hack"), ` `, make("span", `solve ${number(cell.solve, 2)}`, "solve"));
        if (cell.error) box.append(make("br"), make("span", cell.error));
        if (cell.id !== undefined) box.addEventListener("click", () => choose(cell.id));
        return box;
      }));
      body.append(row);
    });
    return [make("h2", `Suite ${suite.suite} (${suite.folder})`), grid];
  }));
}

async function choose(id) {
  state.chosen = state.chosen.includes(id) ? state.chosen.filter((one) => one !== id) : [...state.chosen, id];
  state.drawn = "";
  firstPage();
  showRuns();
  showSuites();
  if (state.chosen.includes(id)) await follow(id);
}

async function follow(id) {
  const known = state.metrics.get(id) ?? { generation: 0, rows: [] };
  const said = await ask(`/api/runs/${id}/metrics?since=${known.rows.length}&generation=${known.generation}`);
  const rows = said.start === 0 ? said.rows : [...known.rows, ...said.rows];
  state.metrics.set(id, { generation: said.generation, rows });
}

function byArm() {
  const asked = $("curve-lines").value;
  return asked === "arm" || (asked === "" && several());
}

function drawCurves() {
  const mode = $("curve-mode");
  const modes = modesOf();
  if (mode.options.length !== modes.length + 1) {
    const before = mode.value;
    const options = modes.map((one) => make("option", one));
    mode.replaceChildren(mode.options[0], ...options);
    mode.value = modes.includes(before) ? before : "";
    const filter = $("filter").elements.mode;
    const known = [...filter.options].map((one) => one.value);
    filter.append(...modes.filter((one) => !known.includes(one)).map((one) => make("option", one)));
  }
  drawing($("curve-plots"), (add) => {
    for (const [name, title, unit] of CURVES) {
      const what = { "rate/hack": "hack", "rate/solve": "solve" }[name];
      if (mode.value && !what) continue;
      const found = lines(mode.value ? rateOf(mode.value, what) : (row) => row[name] ?? null, byArm());
      if (found) add(name, mode.value ? `${title}, ${mode.value}` : title, found.data, found.series, { y: unit, bands: found.bands });
    }
  });
}

async function drawLoopholes() {
  drawing($("loophole-plots"), (add) => {
    for (const mode of modesOf()) {
      for (const what of ["hack", "solve"]) {
        const found = lines(rateOf(mode, what), byArm());
        if (found) add(mode + what, `${mode}: ${what} rate`, found.data, found.series, { y: "share of rollouts", bands: found.bands });
      }
    }
  });
  const id = state.chosen[0];
  if (id === undefined) return;
  const found = await ask(`/api/runs/${id}/examples`);
  const key = JSON.stringify([id, found.map((one) => [one.mode, one.first, one.pair])]);
  if (drawLoopholes.key === key) return;
  drawLoopholes.key = key;
  const parts = [];
  for (const one of found) {
    const head = make("h2", `${one.mode}: ${one.hacks} of ${one.n} rollouts of ${nameOf(id)} hack` +
      (one.first ? `; the first in update ${one.first.update}` : ""));
    parts.push(head);
    const places = one.pair ? [["hack", one.pair.hack], ["solve, same prompt", one.pair.solve]] : one.first ? [["first hack", one.first]] : [];
    const both = make("div", null, "two");
    for (const [title, place] of places) {
      const whole = await ask(`/api/runs/${id}/rollouts/${place.update}/${encodeURIComponent(place.id)}`);
      const box = make("article", null, "example");
      box.append(make("h2", title), ...card(whole));
      both.append(box);
      box.rollout = whole;
    }
    parts.push(both);
  }
  $("examples").replaceChildren(...parts);
  for (const box of $("examples").querySelectorAll("article")) layers(box, box.rollout);
}

async function drawScores() {
  const said = await Promise.all(state.chosen.slice(0, 2).map((id) => ask(`/api/runs/${id}/scores`)));
  const slider = $("score-update");
  const updates = said.flatMap((one) => one.updates.map((row) => row.update));
  const last = Math.max(0, ...updates);
  if (Number(slider.max) !== last) { const follows = slider.value === slider.max; slider.max = last; if (follows) slider.value = last; }
  $("score-which").textContent = slider.value;
  drawing($("score-plots"), (add) => said.forEach((one, place) => {
    const name = nameOf(state.chosen[place]);
    if (!one.updates.length) return;
    const quantile = (side, i) => one.updates.map((row) => row.quantiles[side][i]);
    const edge = (i) => one.updates.map((row) => row.band?.[i] ?? null);
    const data = [one.updates.map((row) => row.update), quantile("hack", 2), quantile("hack", 0), quantile("other", 2), quantile("other", 0),
      quantile("hack", 1), quantile("other", 1), edge(0), edge(1)];
    const none = line("", "transparent");
    const series = [none, none, none, none, line("hack: median", PALETTE[1]), line("not hack: median", PALETTE[0], "--"),
      line("band, lower", css("--dim"), ":"), line("band, upper", css("--dim"), "-.")];
    const bands = [{ series: [1, 2], fill: `${PALETTE[1]}33` }, { series: [3, 4], fill: `${PALETTE[0]}33` }];
    add(`over${place}`, `Scores over updates, ${name}`, data, series, { y: "cosine with v_grad", bands, height: 260 });
    const at = one.updates.find((row) => String(row.update) === slider.value) ?? one.updates.at(-1);
    const middle = one.edges.slice(0, -1).map((edge_, i) => (edge_ + one.edges[i + 1]) / 2);
    const shade = (chart) => {
      if (!at.band || at.band[0] === null || at.band[0] === undefined) return;
      const [from, to] = at.band.map((edge_) => chart.valToPos(edge_, "x", true));
      chart.ctx.fillStyle = "rgba(150, 150, 150, .3)";
      chart.ctx.fillRect(from, chart.bbox.top, Math.max(2, to - from), chart.bbox.height);
    };
    const stepped = uPlot.paths.stepped({ align: 1 });
    add(`at${place}`, `Scores in update ${at.update}, ${name}`, [middle, at.hack, at.other],
      [{ ...line("hack", PALETTE[1]), fill: `${PALETTE[1]}55`, paths: stepped }, { ...line("not hack", PALETTE[0], "--"), paths: stepped }],
      { x: "score (cosine with v_grad); grey: the band", y: "rollouts", height: 260, hooks: { drawAxes: [shade] }, signature: JSON.stringify([at.update, at.band]) });
  }));
}

const TABS = { runs: () => {}, curves: drawCurves, loopholes: drawLoopholes, scores: drawScores, rollouts: searchRollouts, beside: drawBeside, timeline: drawTimeline };

async function draw() {
  const key = JSON.stringify([state.tab, state.chosen, state.chosen.map((id) => rowsOf(id).length)]);
  if (key === state.drawn) return;
  state.drawn = key;
  await TABS[state.tab]();
}

async function poll() {
  try {
    [state.runs, state.suites] = await Promise.all([ask("/api/runs"), ask("/api/suites")]);
    if (!state.chosen.length && state.runs.length === 1) state.chosen = [state.runs[0].id];
    showRuns();
    showSuites();
    await Promise.all(state.chosen.map(follow));
    await draw();
    $("status").textContent = state.runs.some((run) => run.state === "running") ? "following" : "nothing is running";
    document.body.dataset.ready = "yes";
  } catch (error) {
    $("status").textContent = `no answer (${error.message})`;
  }
  setTimeout(poll, POLL_MS);
}

function again() { state.drawn = ""; draw(); }

for (const button of $("tabs").children) {
  button.addEventListener("click", () => {
    state.tab = button.dataset.tab;
    for (const other of $("tabs").children) other.classList.toggle("on", other === button);
    for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== state.tab;
    again();
  });
}
for (const id of ["curve-lines", "curve-mode", "score-update"]) $(id).addEventListener("input", again);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => location.reload());
let resized = 0;
let width = innerWidth;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => { if (width !== innerWidth) redrawAll(); width = innerWidth; }, 200);
});
startRollouts();
startTimeline();
startBeside();
state.looks = await ask("/api/looks");
poll();
