// Charts by uPlot. A chart that is there already gets its new numbers; one that is no longer asked for is taken away.
import { PALETTE, css, dark, make, nameOf, rowsOf, runOf, state } from "./page.js";

const DASHES = { "-": [], "--": [8, 4], ":": [2, 3], "-.": [8, 3, 2, 3] };
const SEED_DASHES = ["-", "--", ":", "-."];
export const CURVES = [
  ["rate/hack", "hack rate", "share of rollouts"], ["rate/solve", "solve rate", "share of rollouts"], ["reward/mean", "mean reward", "reward"],
  ["gate/share_clean", "labelled clean", "share of rollouts"], ["gate/share_mid", "labelled mid", "share of rollouts"],
  ["gate/share_hack", "labelled hack", "share of rollouts"], ["loss", "loss", ""], ["grad_norm/total", "gradient norm", ""],
  ["grad_norm/quarantine_share", "quarantine's part of the squared gradient norm", "share"], ["kl/reference", "KL to the base", "nats per token"],
  ["entropy", "entropy", "nats per token"], ["mismatch/kl", "engine against learner, KL", "nats"],
  ["completions/mean_length", "completion length", "tokens"], ["tokens_per_second", "speed", "tokens per second"], ["lr", "learning rate", ""],
];

// Draw with `add(key, title, data, series, extra)`; what is not added again is removed.
export function drawing(into, draw) {
  into.charts ??= new Map();
  into.again = () => drawing(into, draw);
  const kept = new Set();
  draw((key, title, data, series, extra = {}) => {
    kept.add(key);
    const signature = JSON.stringify([title, series.map((one) => [one.label, one.stroke, one.dash]), dark(), extra.signature ?? ""]);
    const old = into.charts.get(key);
    if (old && old.signature === signature) return old.chart.setData(data);
    const box = old ? old.box : make("div", null, "plot");
    box.replaceChildren(make("h2", title));
    into.append(box);
    into.charts.set(key, { signature, box, chart: newChart(box, data, series, extra) });
  });
  for (const [key, { box }] of into.charts) {
    if (kept.has(key)) continue;
    box.remove();
    into.charts.delete(key);
  }
}

export function redrawAll() {
  for (const into of document.querySelectorAll(".plots")) {
    if (!into.charts) continue;
    into.charts.clear();
    into.replaceChildren();
    if (into.offsetParent) into.again(); // the others are drawn when they are shown
  }
}

const fromZero = (_, low, high) => [0, 1.08 * Math.max(0.05, high ?? 0)];
const marker = (dash) => (!dash?.length ? "solid" : dash[0] < 4 ? "dotted" : "dashed");

function newChart(box, data, series, extra) {
  const grid = { stroke: css("--line"), width: 1 };
  const axis = { stroke: css("--dim"), grid, ticks: grid };
  const x = { ...axis, label: extra.x ?? "update", labelSize: 16, size: 34 };
  const y = { ...axis, label: extra.y || undefined, labelSize: 16, size: 52, ...extra.yAxis };
  if (!extra.x) x.values = (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : ""));
  const options = {
    width: Math.max(260, box.clientWidth - 22), height: extra.height ?? 210, axes: [x, y], bands: extra.bands ?? [], hooks: extra.hooks ?? {},
    scales: { x: { time: false }, ...((extra.y ?? "").startsWith("share") ? { y: { range: fromZero } } : {}), ...extra.scales },
    legend: { markers: { width: 2, dash: (chart, i) => marker(chart.series[i].dash) }, ...extra.legend },
    series: [{ label: extra.x ? "at" : "update", value: (_, v) => (v === null ? "" : Number.isInteger(v) ? v : v.toPrecision(4)) }, ...series],
  };
  const chart = new uPlot(options, data, box);
  chart.root.querySelectorAll(".u-legend .u-series").forEach((row, i) => { if (i && !series[i - 1].label) row.classList.add("unnamed"); });
  return chart;
}

export const line = (label, colour, dash = "-", width = 2) => ({
  label, stroke: colour, dash: DASHES[dash], width, spanGaps: true, points: { show: false }, value: (_, v) => (v === null || v === undefined ? "" : v.toPrecision(3)),
});

function lookOf(arm, i) {
  const look = state.looks[arm];
  return look ? { colour: dark() ? look.dark : look.light, dash: look.dash } : { colour: PALETTE[i % PALETTE.length], dash: "-" };
}

// One number over updates, a function of a row of metrics: {data, series, bands} of the chosen runs.
export function lines(value, byArm) {
  const updates = [...new Set(state.chosen.flatMap((id) => rowsOf(id).map((row) => row.update)))].sort((a, b) => a - b);
  const columns = new Map(state.chosen.map((id) => {
    const of = new Map(rowsOf(id).map((row) => [row.update, value(row)]));
    return [id, updates.map((update) => of.get(update) ?? null)];
  }));
  if (![...columns.values()].some((column) => column.some((one) => one !== null))) return null;
  const found = byArm ? perArm(columns, updates) : perRun(columns);
  return { data: [updates, ...found.data], series: found.series, bands: found.bands ?? [] };
}

function perRun(columns) {
  const seeds = [...new Set(state.chosen.map((id) => runOf(id)?.seed))].sort((a, b) => a - b);
  const arms = [...new Set(state.chosen.map((id) => runOf(id)?.arm))];
  const series = [...columns.keys()].map((id, i) => {
    if (arms.length === 1) return line(nameOf(id), PALETTE[i % PALETTE.length], SEED_DASHES[Math.floor(i / PALETTE.length) % 4]);
    const run = runOf(id);
    const look = lookOf(run?.arm, arms.indexOf(run?.arm));
    return line(nameOf(id), look.colour, seeds.length > 1 ? SEED_DASHES[seeds.indexOf(run?.seed) % 4] : look.dash);
  });
  return { data: [...columns.values()], series };
}

// Of every arm its mean over seeds at updates that all its chosen runs have, ± 1 standard error, and each seed thinly.
function perArm(columns, updates) {
  const data = [], series = [], bands = [];
  const arms = [...new Set(state.chosen.map((id) => runOf(id)?.arm))];
  arms.forEach((arm, place) => {
    const look = lookOf(arm, place);
    const title = state.chosen.map(runOf).find((run) => run?.arm === arm)?.title ?? arm;
    const mine = [...columns].filter(([id]) => runOf(id)?.arm === arm).map(([, column]) => column);
    const seedsAt = updates.map((_, i) => mine.map((column) => column[i]));
    const whole = seedsAt.map((values) => !values.includes(null));
    const mean = seedsAt.map((values, i) => (whole[i] ? values.reduce((a, b) => a + b, 0) / values.length : null));
    if (mine.length > 1) {
      const sem = seedsAt.map((values, i) => whole[i] && Math.sqrt(values.reduce((a, b) => a + (b - mean[i]) ** 2, 0) / (values.length - 1) / values.length));
      data.push(mean.map((m, i) => (m === null ? null : m + sem[i])), mean.map((m, i) => (m === null ? null : m - sem[i])));
      series.push(line("", "transparent"), line("", "transparent"));
      bands.push({ series: [series.length - 1, series.length], fill: `${look.colour}33` });
      for (const column of mine) { data.push(column); series.push(line("", `${look.colour}66`, "-", 0.8)); }
    }
    data.push(mean);
    series.push(line(`${title} (n = ${mine.length})`, look.colour, look.dash));
  });
  return { data, series, bands };
}

// Hack or solve rate of one loophole in a row of metrics.
export const rateOf = (mode, what) => (row) => (row.per_mode?.[mode]?.n ? row.per_mode[mode][what] / row.per_mode[mode].n : null);
export const modesOf = () => [...new Set(state.chosen.flatMap((id) => rowsOf(id).flatMap((row) => Object.keys(row.per_mode ?? {}))))]
  .filter((mode) => mode !== "all").sort();
export const several = () => new Set(state.chosen.map((id) => runOf(id)?.arm)).size < state.chosen.length;
