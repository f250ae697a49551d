// Numbers in words, colours, and scales: linear, logarithmic, and logarithmic on both sides of zero.

function number(value) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size >= 1e6 || size < 1e-4) text = value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  else if (size >= 1000) text = Math.round(Number(value.toPrecision(3))).toLocaleString("en");
  else text = String(Number(value.toPrecision(3)));
  return text.replace("-", "−").replace("e-", "e−");
}

function shownAs(kind, value) {
  if (kind !== "share" || !Number.isFinite(value)) return number(value);
  const percent = 100 * value;
  if (percent > 99 && percent < 100) return `${Math.floor(10 * percent) / 10}%`;
  return percent >= 1 || percent === 0 ? `${Math.round(percent)}%` : `${Number(percent.toPrecision(2))}%`;
}

function label(value) {
  const size = Math.abs(value);
  for (const [unit, sign] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= unit && size < unit * 1000) return `${Number((value / unit).toPrecision(4))}${sign}`.replace("-", "−");
  }
  return number(value);
}

function whole(value) {
  return Math.round(value).toLocaleString("en");
}

// Red, green and blue of 256 places in a colour map, from its anchors.
function palette(anchors) {
  const known = anchors.match(/../g).map((pair) => parseInt(pair, 16));
  const last = known.length / 3 - 1;
  const colours = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const place = Math.min((i / 255) * last, last - 1e-9);
    const from = Math.floor(place);
    for (let c = 0; c < 3; c++) {
      const [a, b] = [known[from * 3 + c], known[from * 3 + 3 + c]];
      colours[i * 3 + c] = Math.round(a + (b - a) * (place - from));
    }
  }
  return colours;
}

const DECADES = 6;

class Scale {
  constructor(shape, low, high) {
    this.shape = shape;
    this.low = low;
    this.high = high;
    this.unit = Math.max(Math.abs(low), Math.abs(high)) / 10 ** DECADES || 1;
    this.from = this.bent(low);
    this.span = this.bent(high) - this.from || 1;
  }

  bent(value) {
    if (this.shape === "log") return Math.log(Math.max(value, this.low));
    if (this.shape === "symlog") return Math.sign(value) * Math.log1p(Math.abs(value) / this.unit);
    return value;
  }

  // From 0 to 1; NaN for NaN.
  place(value) {
    const place = (this.bent(value) - this.from) / this.span;
    return place < 0 ? 0 : place > 1 ? 1 : place;
  }

  ticks(most = 4) {
    const { low, high } = this;
    if (this.shape === "symlog") {
      const largest = Math.max(Math.abs(low), Math.abs(high));
      const half = powers(largest / 10 ** (DECADES / 2), largest, 2);
      return [...half.map((x) => -x).reverse(), 0, ...half].filter((x) => x >= low && x <= high);
    }
    if (this.shape === "log" && high / low > 10) return powers(low, high, most);
    return rounded(low, high, most);
  }
}

function powers(low, high, most) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const by = Math.max(1, Math.ceil((last - first + 1) / most));
  const found = [];
  for (let power = first; power <= last; power += by) found.push(10 ** power);
  return found;
}

function rounded(low, high, most = 4) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const power = 10 ** Math.floor(Math.log10(span / most));
  const by = [1, 2, 5, 10].map((nice) => nice * power).find((nice) => nice >= (span / most) * 0.999);
  const found = [];
  for (let i = Math.ceil(low / by - 1e-9); i <= Math.floor(high / by + 1e-9); i++) found.push(i * by);
  return found;
}

// The scale for arrays of numbers: shape "auto" takes what suits them. Linear scales leave 0.5% at each end outside.
function scaleOf(arrays, kind, shape = "auto", exact = false) {
  const known = [];
  for (const values of arrays) for (const value of values) if (Number.isFinite(value)) known.push(value);
  if (!known.length) return { scale: new Scale("linear", 0, 1), below: false, above: false };
  known.sort((a, b) => a - b);
  let [low, high] = [known[0], known[known.length - 1]];
  const positive = known.find((value) => value > 0);
  const largest = Math.max(Math.abs(low), Math.abs(high));
  if (shape === "auto") {
    shape = "linear";
    if (kind === "size" && positive && high > 30 * positive) shape = "log";
    const sizes = kind === "signed" ? known.map(Math.abs).sort((a, b) => a - b) : [];
    if (kind === "signed" && largest > 30 * sizes[sizes.length >> 1] && sizes[sizes.length >> 1] > 0) shape = "symlog";
  }
  if (shape === "log" && positive) {
    const bottom = Math.max(positive, high * 1e-12);
    return { scale: new Scale("log", bottom, Math.max(high, bottom * 1.0001)), below: low < bottom, above: false };
  }
  if (shape === "symlog") {
    const from = kind === "signed" ? -largest : 0;
    return { scale: new Scale("symlog", from, largest || 1), below: false, above: false };
  }
  if (kind === "share") return { scale: new Scale("linear", 0, high > 0.3 ? 1 : high || 1), below: false, above: false };
  let [below, above] = [false, false];
  if (!exact && known.length > 400) {
    const [least, most] = [known[Math.floor(known.length * 0.005)], known[Math.ceil(known.length * 0.995) - 1]];
    if (most > least && high - low > 3 * (most - least)) {
      [below, above] = [low < least, high > most];
      [low, high] = [least, most];
    }
  }
  if (kind === "signed") {
    const end = Math.max(Math.abs(low), Math.abs(high)) || 1;
    if (!exact) [low, high] = [-end, end];
  } else if (low < 0.5 * high) low = 0;
  if (high <= low) [low, high] = [low - Math.abs(low) * 0.5 - 1e-12, high + Math.abs(high) * 0.5 + 1e-12];
  return { scale: new Scale("linear", low, high), below, above };
}
