// The heat map: rows of the tree in sight by steps, on a canvas of the size of what is seen of it.

const ROW = 19;
const LEAST = 4;
const DENSE = 11; // rows lower than this have no names

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key in made && typeof value !== "string") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

class HeatMap {
  constructor(run, state, changed) {
    Object.assign(this, { run, state, changed });
    this.cursor = { row: 0, step: run.first };
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.spacer = element("div", { class: "spacer" }, this.canvas);
    this.view = element(
      "div",
      {
        class: "view", tabindex: "0", role: "application", "aria-roledescription": "heat map",
        "aria-label": "Layers by steps. Arrow keys move, Enter folds or unfolds a module or shows the curves of a layer, " +
          "plus and minus zoom in time, Escape shows all steps.",
      },
      this.spacer,
    );
    this.tip = element("div", { class: "tip", hidden: true });
    this.said = element("p", { class: "cell", "aria-live": "polite" });
    this.axis = element("div", { class: "time" });
    this.element = element("div", { class: "board" }, this.view, this.axis, this.tip);
    this.listen();
  }

  setTree(tree) {
    this.tree = tree;
    this.rows = tree.inSight;
    this.cursor.row = 0;
  }

  get left() {
    const wide = this.element.clientWidth;
    return Math.round(wide < 560 ? wide * 0.32 : Math.min(250, wide * 0.25));
  }

  get rowHeight() {
    const room = Math.min(620, Math.max(260, window.innerHeight * 0.62));
    if (!this.state.fit) return ROW;
    return Math.min(ROW, room / Math.max(this.rows.length, 1));
  }

  x(step) {
    const { from, to } = this.state;
    return this.left + ((step - from) / (to - from)) * (this.element.clientWidth - this.left - 12);
  }

  step(x) {
    const { from, to } = this.state;
    return from + ((x - this.left) / (this.element.clientWidth - this.left - 12)) * (to - from);
  }

  // The values of a node as the colours show them: those of the statistic, or how they have changed since the first.
  values(node) {
    const { statistic, which, change } = this.state;
    const { level, values } = this.tree.cells(node, statistic.name, which);
    if (!values || !change) return { level, values };
    const first = values.find((value) => Number.isFinite(value) && value !== 0);
    return { level, values: values.map((value) => value / first) };
  }

  rescale() {
    const { statistic, change, shape } = this.state;
    // Of all rows, folded or not, so that the colours stay as one unfolds.
    const leaves = this.tree.inSight.filter((node) => !node.open);
    const arrays = leaves.map((node) => this.values(node).values).filter(Boolean);
    if (change) {
      const sizes = [];
      for (const values of arrays) for (const value of values) {
        if (Number.isFinite(value) && value > 0) sizes.push(Math.abs(Math.log(value)));
      }
      sizes.sort((a, b) => a - b);
      const [largest, most] = sizes.length ? [sizes[sizes.length - 1], Math.min(1e6, Math.max(2, Math.exp(endsOf(sizes)[1])))] : [0, 2];
      const outside = largest > Math.log(most) * 1.000001;
      this.ends = { scale: new Scale("log", 1 / most, most), below: outside, above: outside };
    } else this.ends = scaleOf(arrays, statistic.kind, shape);
    this.colours = palette(change || statistic.kind === "signed" ? COLOURS.diverging : COLOURS.sequential);
  }

  layout() {
    this.rows = this.tree.inSight;
    const height = this.rowHeight * this.rows.length;
    const room = Math.min(620, Math.max(260, window.innerHeight * 0.62));
    this.spacer.style.height = `${Math.max(height, LEAST)}px`;
    this.view.style.height = `${Math.min(height, room)}px`;
    this.cursor.row = Math.min(this.cursor.row, Math.max(this.rows.length - 1, 0));
  }

  // Draws all, or, where only the cursor has moved, that alone over what was drawn last.
  draw(all = true) {
    const { clientWidth: width, clientHeight: height } = this.view;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    const context = this.canvas.getContext("2d");
    const high = this.rowHeight;
    if (all || !this.still) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
      context.scale(ratio, ratio);
      const first = Math.floor(this.view.scrollTop / high);
      const last = Math.min(this.rows.length, Math.ceil((this.view.scrollTop + height) / high));
      this.paint(context, first, last, high);
      context.font = `12px ${getComputedStyle(this.view).fontFamily}`;
      context.textBaseline = "middle";
      if (high >= DENSE) {
        for (let i = first; i < last; i++) this.name(context, this.rows[i], i * high - this.view.scrollTop, high);
      } else this.names(context, high, height);
      this.mark(context, high, height);
      this.drawAxis();
      this.still = new OffscreenCanvas(this.canvas.width, this.canvas.height);
      this.still.getContext("2d").drawImage(this.canvas, 0, 0);
    } else {
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, this.canvas.width, this.canvas.height);
      context.drawImage(this.still, 0, 0);
      context.scale(ratio, ratio);
    }
    this.drawCursor(context, high);
  }

  // Cells as pixels: one line of them for each row, or for each pixel where rows are lower than that.
  paint(context, first, last, high) {
    const wide = Math.max(1, Math.round((this.element.clientWidth - this.left - 12) * (window.devicePixelRatio || 1)));
    const together = Math.max(1, Math.ceil(0.5 / high));
    const lines = Math.ceil((last - first) / together);
    if (lines < 1) return;
    const image = new ImageData(wide, lines);
    const { scale } = this.ends;
    const { colours } = this;
    const { from, to, which } = this.state;
    const place = new Float64Array(wide);
    const bare = new Uint8Array(wide); // rows, and none with a finite number
    const grey = [1, 3, 5].map((at) => parseInt(css("--bare").slice(at, at + 2), 16));
    for (let line = 0; line < lines; line++) {
      place.fill(NaN);
      bare.fill(0);
      for (let i = first + line * together; i < Math.min(first + (line + 1) * together, last); i++) {
        // An open module is a heading: its layers follow.
        const { level, values } = this.rows[i].open ? {} : this.values(this.rows[i]);
        if (!values) continue;
        const by = (to - from) / wide / level.width;
        const start = (from - level.origin) / level.width;
        const counts = this.tree.counts(this.rows[i]);
        for (let x = 0; x < wide; x++) {
          const column = Math.floor(start + (x + 0.5) * by);
          const value = values[column];
          if (value === undefined || Number.isNaN(value)) {
            if (counts[column]) bare[x] = 1;
            continue;
          }
          const found = scale.place(value);
          // What stands out stays: the largest, or the least where that is asked for.
          if (!(which === "low" ? found >= place[x] : found <= place[x])) place[x] = found;
        }
      }
      for (let x = 0, at = line * wide * 4; x < wide; x++, at += 4) {
        if (Number.isNaN(place[x]) && !bare[x]) continue;
        const colour = Math.round(place[x] * 255) * 3;
        for (let c = 0; c < 3; c++) image.data[at + c] = Number.isNaN(place[x]) ? grey[c] : colours[colour + c];
        image.data[at + 3] = 255;
      }
    }
    const picture = new OffscreenCanvas(wide, lines);
    picture.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    const [left, right] = [this.left, this.element.clientWidth - 12];
    context.fillStyle = css("--sheet");
    context.fillRect(left, first * high - this.view.scrollTop, right - left, (last - first) * high);
    const gap = high >= DENSE ? 1 : 0;
    if (!gap) {
      context.drawImage(picture, left, first * high - this.view.scrollTop, right - left, lines * together * high);
      return;
    }
    context.fillStyle = css("--paper");
    context.fillRect(left, 0, right - left, this.view.clientHeight);
    for (let line = 0; line < lines; line++) {
      const y = (first + line) * high - this.view.scrollTop;
      if (this.rows[first + line].open) continue;
      context.fillStyle = css("--sheet");
      context.fillRect(left, y, right - left, high - gap);
      context.drawImage(picture, 0, line, wide, 1, left, y, right - left, high - gap);
    }
  }

  name(context, node, y, high) {
    const middle = y + high / 2;
    const indent = 16 + Math.min(node.depth, 8) * 11;
    const room = this.left - indent - 12;
    context.fillStyle = css("--faint");
    if (node.folds) {
      context.beginPath();
      const x = indent - 11;
      if (node.open) context.moveTo(x - 1, middle - 2), context.lineTo(x + 7, middle - 2), context.lineTo(x + 3, middle + 3);
      else context.moveTo(x + 1, middle - 4), context.lineTo(x + 6, middle), context.lineTo(x + 1, middle + 4);
      context.fill();
    }
    if (node.severity) {
      context.fillStyle = css(`--${node.severity}`);
      context.fillRect(this.left - 7, y + 1, 3, high - 3);
    }
    const more = node.layers > 1 && !node.open ? ` ${whole(node.layers)}` : "";
    context.fillStyle = node.severity ? css("--ink") : css("--soft");
    const text = fitted(context, node.label, room - context.measureText(more).width);
    context.fillText(text, indent, middle + 0.5);
    context.fillStyle = css("--faint");
    context.fillText(more, indent + context.measureText(text).width + 2, middle + 0.5);
  }

  // Where rows are too low for names: those of the modules that have room for theirs.
  names(context, high, height) {
    let free = 0;
    this.rows.forEach((node, i) => {
      const y = i * high - this.view.scrollTop;
      if (!node.open || y < free || y > height) return;
      let end = i + 1;
      while (end < this.rows.length && this.rows[end].depth > node.depth) end++;
      if ((end - i) * high < 12) return;
      this.name(context, node, y - 1, 14);
      free = y + 13;
    });
  }

  // Findings: from the step since which they hold, in the row that shows their layer.
  mark(context, high, height) {
    this.spots = [];
    const places = new Map(this.rows.map((node, i) => [node, i]));
    const taken = new Map();
    for (const finding of this.run.findings) {
      const node = finding.layers.length ? this.tree.showing(finding.layers[0]) : null;
      const row = places.get(node);
      if (row === undefined) continue;
      const y = (row + 0.5) * high - this.view.scrollTop;
      if (y < -20 || y > height + 20) continue;
      const right = this.element.clientWidth - 12;
      let x = Math.min(Math.max(this.x(finding.since), this.left), right);
      context.strokeStyle = css("--ink");
      context.lineWidth = 1.25;
      if (high >= DENSE) context.strokeRect(x, y - high / 2 + 0.5, Math.max(right - x, 3), high - 2);
      const key = `${row} ${Math.round(x / 16)}`;
      x += 17 * (taken.get(key) || 0);
      taken.set(key, (taken.get(key) || 0) + 1);
      context.beginPath();
      context.arc(x, y, 7.5, 0, 2 * Math.PI);
      context.fillStyle = css("--paper");
      context.fill();
      context.stroke();
      context.fillStyle = css("--ink");
      context.font = "600 10px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText(String(finding.number), x, y + 0.5);
      context.textAlign = "start";
      this.spots.push({ x, y, finding });
    }
  }

  drawCursor(context, high) {
    if (document.activeElement !== this.view && !this.pointed) return;
    const y = this.cursor.row * high - this.view.scrollTop;
    const x = this.x(this.cursor.step);
    context.strokeStyle = css("--ink");
    context.globalAlpha = 0.55;
    context.lineWidth = 1;
    context.beginPath();
    if (x >= this.left) context.moveTo(x, 0), context.lineTo(x, this.view.clientHeight);
    context.stroke();
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.strokeRect(this.left - 1, y, this.element.clientWidth - this.left - 10, Math.max(high - 1, 2));
    if (this.drag) {
      context.globalAlpha = 0.18;
      context.fillStyle = css("--ink");
      context.fillRect(this.drag.from, 0, this.drag.to - this.drag.from, this.view.clientHeight);
      context.globalAlpha = 1;
    }
  }

  drawAxis() {
    const ticks = rounded(this.state.from, Math.max(this.state.to - 1, this.state.from + 1), this.element.clientWidth < 560 ? 3 : 6);
    this.axis.replaceChildren(
      ...ticks.map((step) => {
        const tick = element("span", {}, label(step));
        tick.style.left = `${this.x(step)}px`;
        return tick;
      }),
      element("b", {}, "step"),
    );
  }

  // What the cell under the cursor holds, in words.
  about(node, step) {
    const { statistic } = this.state;
    const { level } = this.tree.cells(node, statistic.name, "median");
    const column = Math.floor((step - level.origin) / level.width);
    if (column < 0 || column >= level.columns) return null;
    const value = (which) => {
      const { values } = this.tree.cells(node, statistic.name, which);
      return values ? values[column] : NaN;
    };
    const first = level.first(column);
    const final = Math.min(first + level.width - 1, this.run.last);
    const where = level.width > 1 && final > first ? `steps ${whole(first)} to ${whole(final)}` : `step ${whole(first)}`;
    const parts = ["low", "lower", "median", "upper", "high"].map(value);
    const rows = this.tree.count(node, column);
    return { name: this.tree.name(node), where, parts, rows, layers: node.layers, level };
  }

  words(node, step) {
    const found = this.about(node, step);
    if (!found) return "";
    const { kind, name } = this.state.statistic;
    const [low, , median, , high] = found.parts;
    const folds = node.folds ? `, ${node.open ? "unfolded" : "folded"}, ${whole(node.layers)} layers` : "";
    if (Number.isNaN(median)) return `${found.name}${folds}; ${found.where}: ${found.rows ? `no finite ${name}` : "no rows"}`;
    const range = low === high ? "" : `, from ${shownAs(kind, low)} to ${shownAs(kind, high)}`;
    const rows = found.rows > 1 ? `; ${whole(found.rows)} rows` : "";
    return `${found.name}${folds}; ${found.where}: ${name} ${shownAs(kind, median)}${range}${rows}`;
  }

  moved() {
    const node = this.rows[this.cursor.row];
    if (node) this.said.textContent = this.words(node, this.cursor.step);
    this.changed("cursor");
    this.draw(false);
  }

  point(event) {
    const box = this.view.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const row = Math.floor((y + this.view.scrollTop) / this.rowHeight);
    const spot = (this.spots || []).find((each) => Math.hypot(each.x - x, each.y - y) < 9);
    return { x, y, row, node: this.rows[row], spot };
  }

  showTip(event, at) {
    this.tip.hidden = !at.node;
    if (!at.node) return;
    const found = at.x > this.left ? this.about(at.node, this.step(at.x)) : null;
    const lines = [element("b", {}, this.tree.name(at.node))];
    if (at.spot) lines.push(element("span", {}, `${at.spot.finding.number}: ${at.spot.finding.adjective} since step ${whole(at.spot.finding.since)}`));
    if (at.node.layer >= 0 && this.run.kind(at.node.layer)) lines.push(element("span", {}, this.run.kind(at.node.layer)));
    else if (at.node.layers > 1) lines.push(element("span", {}, `${whole(at.node.layers)} layers`));
    if (found) {
      const { kind, name } = this.state.statistic;
      const [low, lower, median, upper, high] = found.parts.map((value) => shownAs(kind, value));
      lines.push(element("span", {}, `${found.where}${found.rows > 1 ? `, ${whole(found.rows)} rows` : ""}`));
      lines.push(element("strong", {}, Number.isNaN(found.parts[2]) ? (found.rows ? `no finite ${name}` : "no rows") : `${name} ${median}`));
      if (low !== high) lines.push(element("span", {}, `half within ${lower} to ${upper}, all within ${low} to ${high}`));
    }
    this.tip.replaceChildren(...lines);
    const box = this.element.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.tip.style.left = `${Math.min(x + 14, box.width - this.tip.offsetWidth - 4)}px`;
    this.tip.style.top = `${y + 18}px`;
  }
}
