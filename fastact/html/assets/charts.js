// Curves with their bands, as SVG: over the map with its axis of steps, and for a layer that was chosen.

const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function linePath(level, values, x, y) {
  let path = "";
  let pen = false;
  for (let c = 0; c < level.columns; c++) {
    if (!Number.isFinite(values[c])) {
      pen = false;
      continue;
    }
    const point = `${x(level.first(c) + (level.width - 1) / 2).toFixed(1)} ${y(values[c]).toFixed(1)}`;
    path += `${pen ? "L" : "M"}${point}${pen ? "" : "h.01"}`;
    pen = true;
  }
  return path;
}

function bandPath(level, low, high, x, y) {
  let path = "";
  for (let c = 0; c < level.columns; ) {
    if (!Number.isFinite(low[c]) || !Number.isFinite(high[c])) {
      c++;
      continue;
    }
    const there = [];
    const back = [];
    for (; c < level.columns && Number.isFinite(low[c]) && Number.isFinite(high[c]); c++) {
      const at = x(level.first(c) + (level.width - 1) / 2).toFixed(1);
      there.push(`${at} ${y(high[c]).toFixed(1)}`);
      back.unshift(`${at} ${y(low[c]).toFixed(1)}`);
    }
    path += `M${there.join("L")}L${back.join("L")}Z`;
  }
  return path;
}

// A chart of curves: each {level, low, lower, median, upper, high}, the first in full, others as lines alone.
// `box` has left, right, width, height and the steps from and to; `since` are marked steps.
function curveChart(title, kind, curves, box, { since = [], steps = false, shape = "auto" } = {}) {
  const { width, height, left, right, from, to } = box;
  const [top, bottom] = [8, height - (steps ? 20 : 6)];
  const seen = curves.flatMap((curve) => [curve.low || curve.median, curve.high || curve.median].map((values) => inside(curve.level, values, from, to)));
  let { scale } = scaleOf(seen, kind, shape, true);
  // What is rounded is not blown up until its rounding shows.
  const size = 4 * (curves[0].step || 0) * Math.max(Math.abs(scale.low), Math.abs(scale.high));
  if (scale.shape === "linear" && scale.high - scale.low < size) {
    const middle = (scale.low + scale.high) / 2;
    scale = new Scale("linear", middle - size / 2, middle + size / 2);
  }
  const x = (step) => left + ((step - from) / (to - from)) * (right - left);
  const y = (value) => bottom - scale.place(value) * (bottom - top);
  const chart = drawn("svg", { class: "chart curve", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": title });
  const clip = `clip-${(curveChart.made = (curveChart.made || 0) + 1)}`;
  const clipped = drawn("clipPath", { id: clip });
  clipped.append(drawn("rect", { x: left, y: 0, width: Math.max(right - left, 1), height }));
  chart.append(clipped);
  for (const value of scale.ticks(3)) {
    chart.append(drawn("line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) }));
    chart.append(drawn("text", { class: "tick", x: left - 7, y: y(value) + 3.5, "text-anchor": "end" }, kind === "share" ? shownAs(kind, value) : label(value)));
  }
  if (steps) {
    for (const step of rounded(from, Math.max(to - 1, from + 1), width < 400 ? 3 : 5)) {
      chart.append(drawn("text", { class: "tick", x: x(step), y: height - 4, "text-anchor": "middle" }, label(step)));
    }
  }
  const all = drawn("g", { "clip-path": `url(#${clip})` });
  const [own, ...others] = curves;
  if (own.low) {
    all.append(drawn("path", { class: "band", d: bandPath(own.level, own.low, own.high, x, y) }));
    all.append(drawn("path", { class: "band", d: bandPath(own.level, own.lower, own.upper, x, y) }));
  }
  others.forEach((curve, i) => all.append(drawn("path", { class: `other other-${i + 1}`, d: linePath(curve.level, curve.median, x, y) })));
  all.append(drawn("path", { class: "line", d: linePath(own.level, own.median, x, y) }));
  for (const step of since) all.append(drawn("line", { class: "since", x1: x(step), x2: x(step), y1: 0, y2: bottom }));
  const cursor = drawn("line", { class: "cursor", y1: 0, y2: bottom, x1: -9, x2: -9 });
  all.append(cursor);
  chart.append(all, drawn("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  chart.follow = (step) => {
    const at = step === null ? -9 : x(step);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
  };
  return chart;
}

function inside(level, values, from, to) {
  const first = Math.max(0, Math.floor((from - level.origin) / level.width));
  return values.subarray ? values.subarray(first, Math.ceil((to - level.origin) / level.width)) : values;
}

function curveOf(tree, node, statistic) {
  const found = { level: tree.cells(node, statistic, "median").level };
  if (found.level && found.level.statistics[statistic]) found.step = found.level.statistics[statistic].step;
  for (const which of ["low", "lower", "median", "upper", "high"]) {
    found[which] = tree.cells(node, statistic, which).values;
    if (!found[which]) return null;
  }
  // Single layers where the map's rows are several have medians alone, and so does what never varies within a cell.
  if (found.low === found.median || found.low.every((value, i) => value === found.high[i] || Number.isNaN(value))) delete found.low;
  return found.median.some(Number.isFinite) ? found : null;
}
