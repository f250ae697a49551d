// Puts the map with its controls in the place of the still picture, and ties findings, map and curves together.

const DATA = JSON.parse(document.getElementById("data").textContent);
const COLOURS = DATA.colours;
const ROOT = document.documentElement;

function choice(title, options, chosen, changed) {
  const select = element("select", { "aria-label": title });
  for (const [value, text, hint] of options) {
    const option = element("option", { value }, text);
    if (hint) option.title = hint;
    select.append(option);
  }
  select.value = chosen;
  select.addEventListener("change", () => changed(select.value));
  return { select, label: element("label", {}, element("span", {}, title), select) };
}

class RunView {
  constructor(section, facts, bytes) {
    this.section = section;
    this.run = { ...facts, levels: facts.levels.map((level, i) => new Level(level, bytes, i ? {} : { row: facts.row })) };
    this.run.shares = new Set(facts.statistics.filter(([, kind]) => kind === "share").map(([name]) => name));
    this.fine = facts.fine && new Level(facts.fine, bytes, { layers: facts.losses });
    this.run.kind = (layer) => facts.kinds.texts[facts.kinds.of[layer]];
    const { run } = this;
    const statistics = facts.statistics.map(([name, kind, meaning]) => ({ name, kind, meaning }));
    const wanted = facts.findings.length ? facts.findings[0].statistic : "rms";
    this.statistics = new Map(statistics.map((each) => [each.name, each]));
    const statistic = this.statistics.get(wanted) || this.statistics.get("rms") || statistics[0];
    this.state = { statistic, which: "median", change: false, shape: "auto", fit: false, from: run.first, to: run.last + 1 };
    this.trees = new Map();
    this.group = 0;
    this.map = new HeatMap(run, this.state, (what, about) => this.changed(what, about));
    this.build();
    this.map.setTree(this.tree());
    this.update();
    new ResizeObserver(() => this.update()).observe(this.map.element);
  }

  tree(group = this.group) {
    if (!this.trees.has(group)) this.trees.set(group, new Tree(this.run, group));
    return this.trees.get(group);
  }

  build() {
    const { state, run } = this;
    const again = () => this.update();
    this.choose = choice("Statistic", [...this.statistics.values()].map((each) => [each.name, each.name, each.meaning]), state.statistic.name, (name) => {
      state.statistic = this.statistics.get(name);
      again();
    });
    const which = choice("Show", [
      ["median", "median of a cell"], ["low", "least in a cell"], ["high", "largest in a cell"], ["change", "change since the start"],
    ], "median", (value) => {
      state.change = value === "change";
      state.which = state.change ? "median" : value;
      again();
    });
    const shape = choice("Colours", [["auto", "as it suits"], ["linear", "linear"], ["log", "log"], ["symlog", "symmetric log"]], "auto", (value) => {
      state.shape = value;
      again();
    });
    this.chooseGroup = choice("Rows", run.groups.map((name, i) => [String(i), name]), "0", (value) => {
      this.group = Number(value);
      this.map.setTree(this.tree());
      again();
    });
    const button = (text, hint, act) => {
      const made = element("button", { type: "button", title: hint }, text);
      made.addEventListener("click", act);
      return made;
    };
    const all = (open) => () => {
      this.tree().setAll(open);
      again();
    };
    this.fit = button("Fit all", "All rows within the window, however low", () => {
      state.fit = !state.fit;
      this.fit.setAttribute("aria-pressed", String(state.fit));
      again();
    });
    this.fit.setAttribute("aria-pressed", "false");
    this.whole = button("All steps", "Back from a part of the steps: Escape, or a double click", () => this.map.zoom(run.first, run.last + 1));
    this.controls = element(
      "div", { class: "controls" }, this.choose.label, which.label, shape.label,
      ...(run.groups.length > 1 ? [this.chooseGroup.label] : []),
      element("span", { class: "buttons" }, button("Fold", "Fold all modules", all(false)), button("Unfold", "Unfold all modules", all(true)), this.fit, this.whole),
    );
    this.legend = element("div", { class: "legend" });
    this.loss = element("div", { class: "losschart" });
    this.panel = element("section", { class: "panel", "aria-label": "Curves of a layer", hidden: true });
    const live = this.section.querySelector(".live");
    const hint = element("p", { class: "hint" }, "Click a cell for its layer’s curves, a module’s name to fold it; drag to zoom in time.");
    live.append(this.controls, this.legend, this.loss, this.map.element, this.map.said, hint, this.panel);
    live.hidden = false;
    this.section.querySelector(".still").classList.add("replaced");
  }

  update() {
    const { map, state, run } = this;
    if (!map.element.clientWidth) return;
    map.layout();
    map.rescale();
    map.draw();
    this.whole.hidden = state.from === run.first && state.to === run.last + 1;
    this.drawLegend();
    this.drawLoss();
    this.drawPanel();
  }

  drawLegend() {
    const { statistic, change } = this.state;
    const { scale, below, above } = this.map.ends;
    const ramp = element("canvas", { width: 256, height: 1, class: "ramp", "aria-hidden": "true" });
    const image = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) image.data.set([...this.map.colours.subarray(i * 3, i * 3 + 3), 255], i * 4);
    ramp.getContext("2d").putImageData(image, 0, 0);
    const text = (value) => (change ? `×${number(value)}` : shownAs(statistic.kind, value));
    const meaning = change ? `${statistic.name} over its own first value` : statistic.meaning;
    this.legend.replaceChildren(
      element("b", {}, statistic.name), element("span", {}, meaning),
      element("span", { class: "scale" }, `${below ? "≤ " : ""}${text(scale.low)}`, ramp, `${above ? "≥ " : ""}${text(scale.high)}`,
        ...(scale.shape === "linear" ? [] : [element("i", {}, scale.shape === "log" ? "log" : "symmetric log")])),
      element("span", { class: "key" }, element("i", { class: "bare" }), "no finite number"),
      element("span", { class: "key" }, element("i", { class: "empty" }), "no rows"),
    );
  }

  get box() {
    const { map, state } = this;
    const width = map.element.clientWidth;
    return { width, height: 92, left: map.left, right: width - 12, from: state.from, to: state.to };
  }

  drawLoss() {
    const { run, fine } = this;
    this.lossChart = null;
    if (!fine) return;
    const curves = fine.rows.map(([layer], row) => {
      const curve = { layer, level: fine };
      for (const which of ["low", "lower", "median", "upper", "high"]) curve[which] = fine.row("mean", which, row);
      return curve;
    });
    const kind = curves.every((curve) => curve.median.every((value) => !(value < 0))) ? "size" : "signed";
    this.lossChart = curveChart(`${run.layers[curves[0].layer]} over the steps`, kind, curves.slice(0, 5), this.box);
    const keys = curves.slice(0, 5).map((curve, i) => element("span", {}, element("i", { class: i ? `other-${i}` : "" }), run.layers[curve.layer]));
    this.loss.replaceChildren(element("span", { class: "what" }, ...keys), this.lossChart);
  }

  drawPanel() {
    const { node, state, run } = this;
    this.charts = [];
    this.panel.hidden = !node;
    if (!node) return;
    const tree = node.tree;
    const since = run.findings.filter((finding) => finding.layers[0] === node.layer && node.layer >= 0);
    const head = element("header", {}, element("h3", {}, element("bdi", {}, tree.name(node))),
      element("span", {}, node.layer >= 0 ? run.kind(node.layer) : `${whole(node.layers)} layers: medians, and the least and the largest of all`));
    for (const finding of since) {
      head.append(element("a", { href: `#${finding.id}` }, `${finding.number}: ${finding.adjective} since step ${whole(finding.since)}`));
    }
    const close = element("button", { type: "button", "aria-label": "Close the curves" }, "Close");
    close.addEventListener("click", () => {
      this.node = null;
      this.panel.hidden = true;
      this.map.view.focus();
    });
    head.append(close);
    const marks = since.map((finding) => finding.since);
    const figures = [];
    const nothing = [];
    const order = [state.statistic, ...[...this.statistics.values()].filter((each) => each !== state.statistic)];
    for (const statistic of order) {
      const curve = curveOf(tree, node, statistic.name);
      if (!curve) continue;
      const large = statistic === state.statistic;
      if (!large && curve.median.every((value) => !value) && !(curve.high || []).some((value) => value)) {
        nothing.push(statistic.name);
        continue;
      }
      const side = Math.max(220, Math.min(360, (this.box.width - 40) / 3));
      const box = large ? { ...this.box, height: 150 } : { ...this.box, width: side, left: 46, right: side - 8, height: 96 };
      const chart = curveChart(`${statistic.name} of ${tree.name(node)}`, statistic.kind, [curve], box, { since: marks, steps: true });
      this.charts.push(chart);
      const said = element("figcaption", {}, element("b", {}, statistic.name), ` ${statistic.meaning}`);
      figures.push(element("figure", large ? { class: "large" } : {}, said, chart));
    }
    if (nothing.length) figures.push(element("p", { class: "rest" }, `Zero throughout: ${nothing.join(", ")}.`));
    this.panel.replaceChildren(head, element("div", { class: "curves" }, ...figures));
  }

  changed(what, about) {
    if (what === "cursor") {
      const step = this.map.pointed || document.activeElement === this.map.view ? this.map.cursor.step : null;
      for (const chart of [this.lossChart, ...(this.charts || [])]) if (chart) chart.follow(step);
    } else if (what === "select") {
      about.tree = this.tree();
      this.node = about;
      this.drawPanel();
    } else if (what === "finding") {
      this.go(about.id, false);
      document.getElementById(about.id).scrollIntoView({ block: "nearest" });
    } else this.update();
  }

  // Shows a finding on the map: its statistic, its layer's row, its first step, its curves.
  go(id, move = true) {
    const finding = this.run.findings.find((each) => each.id === id);
    if (!finding || !finding.layers.length) return;
    const [layer] = finding.layers;
    const { state, map } = this;
    if (this.statistics.has(finding.statistic)) state.statistic = this.statistics.get(finding.statistic);
    this.choose.select.value = state.statistic.name;
    this.group = this.run.group[layer];
    this.chooseGroup.select.value = String(this.group);
    if (map.tree !== this.tree()) map.setTree(this.tree());
    const node = this.tree().reveal(layer);
    if (finding.since < state.from || finding.since >= state.to) [state.from, state.to] = [this.run.first, this.run.last + 1];
    if (node) {
      node.tree = this.tree();
      this.node = node;
      map.rows = this.tree().inSight;
      map.cursor = { row: Math.max(0, map.rows.indexOf(node)), step: Math.max(finding.since, this.run.first) };
    }
    this.update();
    map.view.scrollTop = Math.max(0, (map.cursor.row + 0.5) * map.rowHeight - map.view.clientHeight / 2);
    if (move) {
      this.section.scrollIntoView({ block: "start" });
      map.view.focus({ preventScroll: true });
    }
    map.moved();
  }
}

function themes() {
  const button = document.getElementById("theme");
  const dark = () => (ROOT.dataset.theme ? ROOT.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const say = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Show in ${dark() ? "light" : "dark"} colours`);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    ROOT.dataset.theme = dark() ? "light" : "dark";
    say();
    views.forEach((view) => view.update());
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    say();
    views.forEach((view) => view.update());
  });
  say();
}

const views = [];

async function start() {
  themes();
  const began = performance.now();
  for (const section of document.querySelectorAll("section.map[data-run]")) {
    const facts = DATA.runs[Number(section.dataset.run)];
    if (!facts) continue;
    const numbers = await inflated(document.getElementById(facts.blob).textContent);
    const about = JSON.parse(new TextDecoder().decode(await inflated(facts.about)));
    about.severity = about.severity.of.map((place) => about.severity.texts[place]);
    const view = new RunView(section, { ...facts, ...about }, numbers);
    views.push(view);
    const article = section.closest("article");
    for (const link of article.querySelectorAll("[data-finding]")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        view.go(link.dataset.finding);
      });
    }
  }
  // How long it took, for those who measure it.
  ROOT.dataset.drawn = String(Math.round(performance.now() - began));
}

start();
