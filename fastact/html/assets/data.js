// Cells as `pack.py` packed them: codes of 16 bits, as differences, deflated, in base64.

const NONE = -32768;

async function inflated(text) {
  const packed = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Cells of several statistics: row i has the layers rows[i].
class Level {
  // `row` has the row of each layer, where several share one; `layers` those of the rows, where they are not all.
  constructor(facts, bytes, { row, layers } = {}) {
    this.rows = Array.from({ length: facts.rows }, (_, i) => (row ? [] : [layers ? layers[i] : i]));
    if (row) row.forEach((place, layer) => this.rows[place].push(layer));
    this.origin = facts.origin;
    this.width = facts.width;
    this.columns = facts.columns;
    this.statistics = facts.statistics;
    this.bytes = bytes;
    this.known = new Map();
    this.counts = this.along(this.codes(facts.count));
  }

  // Codes of a plane as they lie at a place, still differences.
  codes(at) {
    const size = this.rows.length * this.columns;
    const codes = new Int16Array(size);
    for (let i = 0; i < size; i++) {
      const folded = this.bytes[at + i] | (this.bytes[at + size + i] << 8);
      codes[i] = (folded >>> 1) ^ -(folded & 1);
    }
    return codes;
  }

  along(codes) {
    const { columns } = this;
    for (let row = 0, i = 0; row < this.rows.length; row++) {
      for (let column = 0; column < columns; column++, i++) {
        if (column) codes[i] += codes[i - 1];
        else if (row) codes[i] += codes[i - columns];
      }
    }
    return codes;
  }

  // The values of a statistic, a Float64Array of rows times columns: "low", "lower", "median", "upper" or "high".
  values(statistic, which) {
    const key = `${statistic} ${which}`;
    if (!this.known.has(key)) this.known.set(key, this.decoded(statistic, which));
    return this.known.get(key);
  }

  decoded(statistic, which) {
    const facts = this.statistics[statistic];
    if (!facts) return null;
    const codes = this.along(this.codes(facts.at));
    const place = ["low", "lower", "upper", "high"].indexOf(which);
    if (place >= 0 && facts.planes > 1) {
      const apart = this.codes(facts.at + 2 * codes.length * (place + 1));
      for (let i = 0; i < codes.length; i++) codes[i] += apart[i];
    }
    const values = new Float64Array(codes.length);
    for (let i = 0; i < codes.length; i++) {
      const code = codes[i];
      if (code === NONE) values[i] = NaN;
      else if (code) values[i] = Math.sign(code) * Math.exp((Math.abs(code) - facts.shift) * facts.step);
    }
    return values;
  }

  row(statistic, which, row) {
    const values = this.values(statistic, which);
    return values && values.subarray(row * this.columns, (row + 1) * this.columns);
  }

  first(column) {
    return this.origin + column * this.width;
  }
}
