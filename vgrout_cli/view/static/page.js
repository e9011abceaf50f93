// What all parts of the page share: elements made of text alone, questions to the server, what is chosen.
"use strict";

export const state = { tab: "runs", runs: [], suites: [], chosen: [], metrics: new Map(), looks: {}, drawn: "" };
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#8a8f98", "#7f5bb5"];
const DARK = ["#5cb5f2", "#ff9152", "#43c99f", "#e79dcb", "#e3b341", "#2a86bd", "#a3abb5", "#c6a0f0"];
export const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
export const PALETTE = dark() ? DARK : LIGHT; // the page is loaded anew where the scheme changes

export const $ = (id) => document.getElementById(id);
export const make = (tag, text, name) => {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (name) node.className = name;
  return node;
};
export const number = (value, digits = 3) => (typeof value === "number" ? value.toFixed(digits).replace(/^-(?=0?\.?0*$)/, "").replace("-", "−") : "");
export const css = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
export const rowsOf = (id) => state.metrics.get(id)?.rows ?? [];
export const runOf = (id) => state.runs.find((one) => one.id === id);

export async function ask(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

// Several runs of one arm and seed are told apart by their folders.
export function nameOf(id) {
  const run = runOf(id);
  if (!run) return String(id);
  const same = state.runs.filter((one) => one.arm === run.arm && one.seed === run.seed).length > 1;
  return `${run.title} ${run.seed}` + (same ? ` (${run.name})` : "");
}

export function table(head, rows) {
  const whole = make("table");
  const top = make("tr");
  top.append(...head.map((one) => make("th", one)));
  whole.createTHead().append(top);
  const body = whole.createTBody();
  for (const cells of rows) {
    const row = make("tr");
    row.append(...cells.map((one) => make("td", one)));
    body.append(row);
  }
  return whole;
}
