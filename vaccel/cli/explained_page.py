"""An explanation as one page that needs nothing else: no network, no file beside it.

All of it comes from a model, so all of it is hostile. The explanation travels as JSON in which no
character can end the element that it stands in, scripts put it on the page as text and never as
markup, and the page's own policy lets no other script run, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from typing import Any, Final

_STYLE: Final = """
body{font:14px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:1200px;color:#1b1f24}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-size:12px}
th,td{text-align:left;padding:2px 8px;border-bottom:1px solid #e3e6ea;vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px}dt{color:#59636e}dd{margin:0}
svg{width:100%;background:#f6f8fa;border-radius:6px}
.scroll{overflow:auto;max-height:70vh}tr:target,tr.on{background:#fff3c4}
text{font:11px system-ui,sans-serif}.legend span{margin-right:1rem}
.legend i{display:inline-block;width:10px;height:10px;margin-right:4px}
"""

_SCRIPT: Final = r"""
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const colours = {array:"#2f6feb", vector:"#2da44e", reference:"#bf8700"};
const others = ["#8250df", "#cf222e", "#1b7c83", "#6e7781"];
const colour = place => colours[place] || (colours[place] = others.shift() || "#57606a");
const el = (name, parent, text) => { const e = document.createElement(name);
  if (text !== undefined) e.textContent = text; parent.append(e); return e; };
const svg = (name, parent, attributes, title) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  if (title !== undefined) { const t = document.createElementNS(
    "http://www.w3.org/2000/svg", "title"); t.textContent = title; e.append(t); }
  parent.append(e); return e; };
const size = bytes => { let n = bytes, unit = 0;
  while (n >= 1024 && unit < 5) { n /= 1024; unit++; }
  return (unit ? n.toFixed(1) : n) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]; };
const percent = share => (100 * share).toFixed(1) + " %";
const nodes = data.nodes, total = Math.max(1, nodes.reduce((s, n) => s + n.critical_cycles, 0));
const rows = [];
const pick = index => { rows.forEach((row, i) => row.classList.toggle("on", i === index));
  rows[index].scrollIntoView({block: "center"}); };
const about = n => `${n.name} (${n.op}) on ${n.place}\n${n.critical_cycles} cycles, ` +
  `${percent(n.critical_cycles / total)}\n${n.why}`;

const facts = document.getElementById("facts"), t = data.total, m = data.memory;
const fact = (name, text) => { el("dt", facts, name); el("dd", facts, text); };
fact("target", `${data.target.profile} of ${data.target.card} (${data.target.kind})`);
fact("inputs", data.inputs.map(i => `${i.name}: ${i.dtype}[${i.shape}]`).join(", "));
fact("cycles", `${t.critical_cycles}`);
fact("device time", `${(t.device_ns / 1e6).toFixed(6)} ms`);
fact("energy", `${t.joules.toPrecision(6)} J`);
const fused = nodes.filter(n => n.fused_into).length;
fact("nodes", Object.entries(t.nodes).map(([k, v]) => `${v} ${k}`).join(", ") +
  (fused ? `; ${fused} of them fused into the products before` : ""));
if (m.peak_bytes !== undefined)
  fact("device memory", `${size(m.peak_bytes)} of ${size(m.capacity_bytes)} at ${m.at}`);

const legend = document.getElementById("legend");
for (const place of new Set(nodes.map(n => n.place))) {
  const item = el("span", legend); el("i", item).style.background = colour(place);
  item.append(place); }

const line = document.getElementById("timeline"), width = 1180, lanes = [...new Set(
  nodes.map(n => n.place))];
line.setAttribute("viewBox", `0 0 ${width} ${lanes.length * 34 + 50}`);
lanes.forEach((place, lane) => { const label = svg("text", line, {x: 4, y: lane * 34 + 12});
  label.textContent = place; });
let at = 0;
nodes.forEach((n, index) => { const wide = (width - 8) * n.critical_cycles / total;
  const bar = svg("rect", line, {x: 4 + at, y: lanes.indexOf(n.place) * 34 + 16,
    width: Math.max(0.5, wide), height: 16, fill: colour(n.place)}, about(n));
  bar.addEventListener("click", () => pick(index)); at += wide; });
const live = m.live_bytes || [], most = Math.max(1, ...live);
live.forEach((bytes, index) => svg("rect", line, {x: 4 + (width - 8) * index / live.length,
  y: lanes.length * 34 + 46 - 30 * bytes / most, width: Math.max(0.5, (width - 8) / live.length),
  height: 30 * bytes / most, fill: "#d0d7de"}, `${size(bytes)} alive`));

const graph = document.getElementById("graph"), shown = nodes.slice(0, 1500), place = {};
const depth = {}, count = {};
shown.forEach((n, index) => { const d = n.takes.reduce(
    (most, name) => Math.max(most, (depth["$" + name] ?? -1) + 1), 0);
  depth["$" + n.name] = d; count[d] = (count[d] || 0) + 1;
  place["$" + n.name] = [20 + 190 * (count[d] - 1), 20 + 44 * d, index]; });
const deep = Math.max(0, ...Object.values(depth)), across = Math.max(1, ...Object.values(count));
graph.setAttribute("viewBox", `0 0 ${across * 190 + 40} ${deep * 44 + 70}`);
graph.style.width = `${across * 190 + 40}px`;
const into = {}; nodes.forEach(n => { into["$" + n.name] = n.fused_into || n.name; });
shown.forEach(n => { const to = place["$" + n.name]; n.takes.forEach(name => {
  const from = place["$" + name], fused = into["$" + name] === n.fused_into;
  if (from) svg("line", graph, {x1: from[0] + 80, y1: from[1] + 26, x2: to[0] + 80, y2: to[1],
    stroke: fused ? "#1b1f24" : "#8c959f", "stroke-width": fused ? 4 : 1}); }); });
shown.forEach(n => { const [x, y, index] = place["$" + n.name];
  const box = svg("rect", graph, {x, y, width: 160, height: 26, rx: 4, fill: colour(n.place)},
    about(n));
  const label = svg("text", graph, {x: x + 6, y: y + 17, fill: "#fff"});
  label.textContent = `${n.op} ${percent(n.critical_cycles / total)}`.slice(0, 26);
  box.addEventListener("click", () => pick(index)); });
if (nodes.length > shown.length)
  el("p", graph.parentElement, `The first ${shown.length} of ${nodes.length} nodes are drawn.`);

const body = document.getElementById("rows");
nodes.forEach(n => { const row = el("tr", body); rows.push(row);
  el("td", row, n.name); el("td", row, n.runs > 1 ? `${n.op} x${n.runs}` : n.op);
  el("td", row, n.place);
  for (const text of [n.critical_cycles, percent(n.critical_cycles / total),
    size(Math.max(0, ...Object.values(n.bytes))), n.joules.toPrecision(3) + " J"])
    el("td", row, text).className = "n";
  el("td", row, Object.entries(n.utilisation).map(([k, v]) => `${k} ${percent(v)}`).join(", "));
  const roof = n.roofline;
  el("td", row, roof.of_roof === undefined ? roof.bound :
    `${percent(roof.of_roof)} of the ${roof.side} roof, bound by ${roof.bound}`);
  el("td", row, n.why); });
const left = document.getElementById("left");
data.left_out.forEach(n => el("li", left, `${n.name} (${n.op}): ${n.why}`));
"""

_COLUMNS: Final = (
    "node",
    "op",
    "runs on",
    "cycles",
    "time",
    "moved",
    "energy",
    "utilisation",
    "roofline",
    "why",
)


def page(found: Mapping[str, Any], name: str) -> str:
    """The page. ``name`` is the model's, for its title."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = html.escape(name)
    heads = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
        f'<h1>{title}</h1><dl id="facts"></dl>\n'
        '<h2>Timeline</h2><p id="legend" class="legend"></p><svg id="timeline"></svg>\n'
        "<p>Nodes in the order in which they run; below, bytes alive in device memory.</p>\n"
        '<h2>Graph</h2><div class="scroll"><svg id="graph"></svg></div>\n'
        "<p>Thick lines lead to nodes that are fused into the product before.</p>\n"
        f'<h2>Nodes</h2><div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        '<tbody id="rows"></tbody></table></div>\n'
        '<h2>Left out</h2><ul id="left"></ul>\n'
        f'<script type="application/json" id="data">{_embedded(found)}</script>\n'
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _embedded(found: Mapping[str, Any]) -> str:
    """JSON that cannot end its element, nor be taken for markup."""
    text = json.dumps(found, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
