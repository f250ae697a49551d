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

// The least and the largest of numbers that rise, without the few at either end that would leave the others no room: as
// `ends_of` of scales.py, of numbers whose distances are what is seen.
function endsOf(rising) {
  const last = rising.length - 1;
  const [low, high] = [rising[0], rising[last]];
  if (last < 40) return [low, high];
  const [first, lower, upper, final] = [0.05, 0.25, 0.75, 0.95].map((share) => rising[Math.floor(share * last)]);
  const reach = 3 * (upper - lower);
  const [from, to] = [Math.min(first, lower - reach), Math.max(final, upper + reach)];
  const least = rising.find((value) => value >= from);
  const most = rising.findLast((value) => value <= to);
  const room = 2 * (most - least);
  if (!(room > 0 && room < Infinity)) return [low, high];
  return [rising.find((value) => value >= least - room), rising.findLast((value) => value <= most + room)];
}

// The ends of a logarithmic scale for positive numbers that rise. Twelve powers of ten are told apart; where there are
// more, those of most numbers are, and if it is exact all above.
function logEndsOf(rising, exact) {
  let [low, high] = [rising[0], rising[rising.length - 1]];
  if (!exact) {
    const [first, last] = endsOf(rising.map(Math.log));
    low = rising.find((value) => Math.log(value) >= first);
    high = rising.findLast((value) => Math.log(value) <= last);
  }
  const bottom = Math.max(low, Math.min(high * 1e-12, rising[Math.min(1 + Math.floor(rising.length / 100), rising.length - 1)]));
  return [bottom, exact ? high : Math.min(high, bottom * 1e12)];
}

// The scale for arrays of numbers: shape "auto" takes what suits them. Outliers lie outside, unless it is exact.
function scaleOf(arrays, kind, shape = "auto", exact = false) {
  const known = [];
  for (const values of arrays) for (const value of values) if (Number.isFinite(value)) known.push(value);
  if (!known.length) return { scale: new Scale("linear", 0, 1), below: false, above: false };
  known.sort((a, b) => a - b);
  let [low, high] = [known[0], known[known.length - 1]];
  const [lowest, highest] = [low, high];
  const found = (as, from, to) => ({ scale: new Scale(as, from, to), below: lowest < from, above: highest > to });
  const sizes = low < 0 ? known.map(Math.abs).sort((a, b) => a - b) : known;
  let positive = sizes.filter((value) => value > 0);
  if (!positive.length) positive = [1];
  let [least, largest] = logEndsOf(positive, exact);
  if (shape === "auto") {
    shape = "linear";
    const typical = sizes[sizes.length >> 1];
    if (kind === "size" && largest > 30 * least) shape = "log";
    if (kind === "signed" && largest > 30 * typical && typical > 0) shape = "symlog";
  }
  if (shape === "log") return found("log", least, Math.max(largest, least * 1.0001));
  if (shape === "symlog") return found("symlog", kind === "signed" ? -largest : 0, largest);
  if (kind === "share") return found("linear", 0, high > 0.3 ? 1 : high || 1);
  if (!exact) [low, high] = endsOf(known);
  if (kind === "signed") {
    largest = (exact ? sizes[sizes.length - 1] : endsOf(sizes)[1]) || 1;
    if (!exact) [low, high] = [-largest, largest];
  } else if (low < 0.5 * high) low = 0;
  if (high <= low) [low, high] = [low - Math.abs(low) * 0.5 - 1e-12, high + Math.abs(high) * 0.5 + 1e-12];
  return found("linear", low, high);
}
