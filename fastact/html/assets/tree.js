// Layers as a tree of modules, by the dots in their names. Rows of the map are its nodes that are in sight.

const GRAVITY = { "": 0, warning: 1, serious: 2, critical: 3 };

class Node {
  constructor(label, parent) {
    this.label = label;
    this.parent = parent;
    this.depth = parent ? parent.depth + 1 : -1;
    this.children = [];
    this.byLabel = new Map();
    this.open = false;
    this.rows = []; // of the map's level
    this.layer = -1; // where it is one layer
    this.detail = -1; // its row among the single layers, where the map has none for it alone
    this.severity = "";
    this.cache = new Map();
  }

  get folds() {
    return this.children.length > 0;
  }

  child(label) {
    let found = this.byLabel.get(label);
    if (!found) {
      found = new Node(label, this);
      this.children.push(found);
      this.byLabel.set(label, found);
    }
    return found;
  }
}

class Tree {
  constructor(run, group) {
    this.run = run;
    this.root = new Node("", null);
    this.root.open = true;
    this.ofLayer = new Map();
    const [level, single] = run.levels;
    level.rows.forEach((layers, row) => {
      if (group >= 0 && run.group[layers[0]] !== group) return;
      if (layers.length === 1) this.leaf(this.root, run.layers[layers[0]].split("."), layers[0], [row], -1);
      else this.shared(layers, row, single);
    });
    this.tidy(this.root);
    this.gather(this.root);
    this.unfold(40);
    for (const finding of run.findings.slice(0, 12)) for (const layer of finding.layers.slice(0, 1)) this.reveal(layer);
  }

  // A layer; where a module of its name is there too, it comes first within that.
  leaf(under, path, layer, rows, detail) {
    let node = under;
    for (const part of path) node = node.child(part);
    if (node.layer >= 0 || node.folds) {
      node = node.child("\u0000itself");
      node.label = "itself";
      while (node.layer >= 0) node = node.child(`again ${layer}`);
    }
    node.layer = layer;
    node.rows = rows;
    node.detail = detail;
    this.ofLayer.set(layer, node);
  }

  // Several layers that share a row: a node of what their names have in common, with the single layers in it.
  shared(layers, row, single) {
    const names = layers.map((layer) => this.run.layers[layer]);
    const paths = names.map((name) => name.split("."));
    let same = 0;
    while (paths.every((path) => path.length > same + 1 && path[same] === paths[0][same])) same++;
    let node = this.root;
    for (const part of paths[0].slice(0, same)) node = node.child(part);
    const ends = [paths[0], paths[paths.length - 1]].map((path) => path.slice(same).join("."));
    node = node.child(`\u0000${row}`);
    node.label = `${ends[0]} … ${ends[1]}`;
    node.rows = [row];
    node.shares = true;
    layers.forEach((layer, i) => {
      const inner = new Node(paths[i].slice(same).join("."), node);
      Object.assign(inner, { layer, detail: single ? layer : -1, rows: [] });
      node.children.push(inner);
      this.ofLayer.set(layer, inner);
    });
  }

  // A module with nothing but one module in it is one node with both names.
  tidy(node) {
    for (let i = 0; i < node.children.length; i++) {
      let child = node.children[i];
      while (child.children.length === 1 && child.layer < 0 && !child.shares) {
        const only = child.children[0];
        only.label = only.shares ? child.label : `${child.label}.${only.label}`;
        only.parent = node;
        child = node.children[i] = only;
      }
      this.tidy(child);
    }
  }

  gather(node) {
    node.depth = node.parent ? node.parent.depth + 1 : -1;
    const { run } = this;
    if (node.layer >= 0) node.severity = run.severity[node.layer];
    // What was a layer before a module of its name came is the first in it.
    if (node.layer >= 0 && node.folds) {
      const own = new Node("itself", node);
      Object.assign(own, { layer: node.layer, rows: node.rows, detail: node.detail, severity: node.severity });
      node.children.unshift(own);
      this.ofLayer.set(node.layer, own);
      Object.assign(node, { layer: -1, rows: [] });
    }
    node.layers = node.layer >= 0 ? 1 : 0;
    for (const child of node.children) {
      this.gather(child);
      node.layers += child.layers;
      if (!node.shares) node.rows = node.rows.concat(child.rows);
      if (GRAVITY[child.severity] > GRAVITY[node.severity]) node.severity = child.severity;
    }
  }

  // Opens modules, from the outermost on, as long as there are at most so many rows, or hardly any.
  unfold(most) {
    let level = [this.root];
    let rows = this.root.children.length;
    while (level.length) {
      const next = [];
      for (const node of level) {
        const more = node === this.root ? 0 : node.children.length;
        if (rows + more > most && rows >= 8) continue;
        node.open = true;
        rows += more;
        next.push(...node.children.filter((child) => child.folds && !child.shares));
      }
      level = next;
    }
  }

  setAll(open, node = this.root) {
    for (const child of node.children) {
      if (child.folds) child.open = open;
      this.setAll(open, child);
    }
  }

  get inSight() {
    const found = [];
    const walk = (node) => {
      for (const child of node.children) {
        found.push(child);
        if (child.open) walk(child);
      }
    };
    walk(this.root);
    return found;
  }

  // The node of a layer, with all modules around it opened.
  reveal(layer) {
    const node = this.ofLayer.get(layer);
    for (let at = node && node.parent; at; at = at.parent) at.open = true;
    return node;
  }

  // The node in sight that shows a layer: its own, or the outermost folded module around it.
  showing(layer) {
    let shown = this.ofLayer.get(layer);
    for (let at = shown; at; at = at.parent) if (!at.open && at !== shown) shown = at;
    return shown;
  }

  name(node) {
    if (node.layer >= 0) return this.run.layers[node.layer];
    const parts = [];
    for (let at = node; at && at.depth >= 0; at = at.parent) parts.unshift(at.label);
    return parts.join(".");
  }

  // What a node shows: the level of its cells, and one value for each column. A folded module has the least of its
  // layers' least, the largest of their largest, and of all else the median; of shares, such as that of dead neurons,
  // the largest, so that a layer that stands out is seen through its module.
  cells(node, statistic, which) {
    const [level, single] = this.run.levels;
    if (!node.rows.length && node.detail >= 0) {
      return { level: single, values: single && single.row(statistic, "median", node.detail) };
    }
    if (!node.rows.length) return { level, values: null };
    if (node.rows.length === 1) return { level, values: level.row(statistic, which, node.rows[0]) };
    const key = `${statistic} ${which}`;
    if (!node.cache.has(key)) node.cache.set(key, this.merged(node.rows, level, statistic, which));
    return { level, values: node.cache.get(key) };
  }

  merged(rows, level, statistic, which) {
    const values = level.values(statistic, which);
    if (!values) return null;
    const share = this.run.shares.has(statistic);
    const found = new Float64Array(level.columns);
    const column = new Float64Array(rows.length);
    for (let c = 0; c < level.columns; c++) {
      let known = 0;
      for (const row of rows) {
        const value = values[row * level.columns + c];
        if (!Number.isNaN(value)) column[known++] = value;
      }
      const some = column.subarray(0, known).sort();
      found[c] = !known ? NaN : which === "low" ? some[0] : which === "high" || share ? some[known - 1] : some[(known - 1) >> 1];
    }
    return found;
  }

  // How many rows of the log each column of a node stands for.
  counts(node) {
    const [level, single] = this.run.levels;
    if (!node.counts) {
      const [of, rows] = node.rows.length ? [level, node.rows] : [single, single ? [node.detail] : []];
      node.counts = new Float64Array(of ? of.columns : 0);
      for (const row of rows) for (let c = 0; c < of.columns; c++) node.counts[c] += of.counts[row * of.columns + c];
    }
    return node.counts;
  }

  count(node, column) {
    return this.counts(node)[column] || 0;
  }
}
