// What the pointer and the keyboard do on the map.

HeatMap.prototype.listen = function () {
  const { view } = this;
  view.addEventListener("scroll", () => this.draw());
  view.addEventListener("focus", () => this.moved());
  view.addEventListener("blur", () => this.draw(false));
  view.addEventListener("keydown", (event) => this.key(event));
  view.addEventListener("pointermove", (event) => this.hover(event));
  view.addEventListener("pointerleave", () => {
    this.pointed = false;
    this.tip.hidden = true;
    this.changed("cursor");
    this.draw(false);
  });
  view.addEventListener("pointerdown", (event) => {
    const at = this.point(event);
    if (at.x > this.left && event.button === 0) this.drag = { from: at.x, to: at.x };
  });
  window.addEventListener("pointerup", (event) => this.release(event));
  view.addEventListener("dblclick", () => this.zoom(this.run.first, this.run.last + 1));
};

HeatMap.prototype.hover = function (event) {
  const at = this.point(event);
  this.pointed = true;
  if (this.drag) this.drag.to = Math.min(Math.max(at.x, this.left), this.element.clientWidth - 12);
  if (at.node) {
    this.cursor.row = at.row;
    if (at.x > this.left) this.cursor.step = Math.min(Math.max(this.step(at.x), this.run.first), this.run.last);
  }
  pointAs(this.view, at, this.left);
  this.showTip(event, at);
  this.changed("cursor");
  this.draw(false);
};

function pointAs(view, at, left) {
  view.style.cursor = at.spot || (at.node && at.x < left) ? "pointer" : at.node ? "crosshair" : "default";
}

HeatMap.prototype.release = function (event) {
  const { drag } = this;
  this.drag = null;
  if (drag && Math.abs(drag.to - drag.from) > 8) {
    const [from, to] = [this.step(drag.from), this.step(drag.to)].sort((a, b) => a - b);
    this.zoom(from, to);
    return;
  }
  if (!this.view.contains(event.target)) return;
  const at = this.point(event);
  if (at.spot) this.changed("finding", at.spot.finding);
  else if (at.node && at.x < this.left && at.node.folds) this.fold(at.node);
  else if (at.node) this.changed("select", at.node);
};

// Shows the steps from one to another, both whole columns at least.
HeatMap.prototype.zoom = function (from, to) {
  const level = this.run.levels[0];
  const least = Math.min(4 * level.width, this.run.last + 1 - this.run.first);
  const middle = (from + to) / 2;
  if (to - from < least) [from, to] = [middle - least / 2, middle + least / 2];
  this.state.from = Math.max(this.run.first, from);
  this.state.to = Math.min(this.run.last + 1, to);
  this.changed("zoom");
};

HeatMap.prototype.fold = function (node, open = !node.open) {
  node.open = open;
  this.changed("rows");
};

HeatMap.prototype.key = function (event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { cursor, rows, state } = this;
  const node = rows[cursor.row];
  const level = this.run.levels[0];
  const column = Math.max(level.width, (state.to - state.from) / 200);
  const by = event.shiftKey ? 10 : 1;
  const down = (count) => (cursor.row = Math.min(Math.max(cursor.row + count, 0), rows.length - 1));
  const right = (steps) => (cursor.step = Math.min(Math.max(cursor.step + steps, state.from), state.to - 1));
  const span = (state.to - state.from) / 2;
  const actions = {
    ArrowDown: () => down(by),
    ArrowUp: () => down(-by),
    PageDown: () => down(20),
    PageUp: () => down(-20),
    ArrowRight: () => right(column * by),
    ArrowLeft: () => right(-column * by),
    Home: () => right(-Infinity),
    End: () => right(Infinity),
    "+": () => this.zoom(cursor.step - span / 2, cursor.step + span / 2),
    "-": () => this.zoom(cursor.step - span * 2, cursor.step + span * 2),
    Escape: () => this.zoom(this.run.first, this.run.last + 1),
  };
  if (event.key === "Enter" || event.key === " ") {
    if (node && node.folds) this.fold(node);
    if (node && (!node.folds || event.key === "Enter")) this.changed("select", node);
  } else if (actions[event.key]) {
    actions[event.key]();
    this.follow();
  } else return;
  event.preventDefault();
  this.moved();
};

// Scrolls so that the cursor's row is in sight.
HeatMap.prototype.follow = function () {
  const high = this.rowHeight;
  const top = this.cursor.row * high;
  if (top < this.view.scrollTop) this.view.scrollTop = top;
  if (top + high > this.view.scrollTop + this.view.clientHeight) this.view.scrollTop = top + high - this.view.clientHeight;
};

function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  // The end of a name tells more than its middle.
  let [low, high] = [0, text.length];
  const cut = (kept) => `${text.slice(0, Math.ceil(kept * 0.4))}…${text.slice(text.length - Math.floor(kept * 0.6))}`;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(cut(middle)).width <= room) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? cut(low) : "…";
}
