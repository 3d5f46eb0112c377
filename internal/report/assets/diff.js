// Differences between two texts, by words: a shortest list of words to take out and to put in, by
// Myers' O(ND) algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986).

const MOST_CHANGES = 1500; // beyond it the differing middle counts as replaced

function wordsOf(text) {
  return text.match(/\s+|[\p{L}\p{N}\p{M}_]+|[^\s\p{L}\p{N}\p{M}_]/gu) || [];
}

// differences returns [op, text] pairs: -1 only in a, 1 only in b, 0 in both.
function differences(a, b) {
  const x = wordsOf(a), y = wordsOf(b);
  let head = 0;
  while (head < x.length && head < y.length && x[head] === y[head]) head++;
  let tail = 0;
  while (tail < x.length - head && tail < y.length - head && x[x.length - 1 - tail] === y[y.length - 1 - tail]) tail++;
  const left = x.slice(head, x.length - tail), right = y.slice(head, y.length - tail);
  const middle = shortest(left, right) || left.map(function (w) { return [-1, w]; }).concat(right.map(function (w) { return [1, w]; }));
  const same = function (w) { return [0, w]; };
  return merged(x.slice(0, head).map(same).concat(middle, x.slice(x.length - tail).map(same)));
}

// shortest is Myers' search, or null when it takes more than MOST_CHANGES steps. v[k] is how far along
// a one comes on diagonal k with d changes; trace remembers v before each step.
function shortest(a, b) {
  const most = Math.min(a.length + b.length, MOST_CHANGES);
  const mid = most + 1;
  const v = new Int32Array(2 * most + 3);
  const trace = [];
  for (let d = 0; d <= most; d++) {
    trace.push(v.slice(mid - d - 1, mid + d + 2));
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || k !== d && v[mid + k - 1] < v[mid + k + 1] ? v[mid + k + 1] : v[mid + k - 1] + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      v[mid + k] = x;
      if (x >= a.length && x - k >= b.length) return retrace(a, b, trace);
    }
  }
  return null;
}

function retrace(a, b, trace) {
  const out = [];
  let x = a.length, y = b.length;
  for (let d = trace.length - 1; d > 0; d--) {
    const w = trace[d], mid = d + 1, k = x - y;
    const from = k === -d || k !== d && w[mid + k - 1] < w[mid + k + 1] ? k + 1 : k - 1;
    const px = w[mid + from], py = px - from;
    while (x > px && y > py) out.push([0, a[--x]]), y--;
    out.push(x === px ? [1, b[py]] : [-1, a[px]]);
    x = px;
    y = py;
  }
  while (x > 0) out.push([0, a[--x]]);
  return out.reverse();
}

// merged joins neighbours: what was taken out stands before what was put in, and white space alone does
// not split a change in two.
function merged(pairs) {
  const out = [];
  let gone = "", come = "", space = "";
  const add = function (op, text) {
    if (text === "") return;
    if (out.length > 0 && out[out.length - 1][0] === op) out[out.length - 1][1] += text;
    else out.push([op, text]);
  };
  const close = function () {
    add(-1, gone);
    add(1, come);
    add(0, space);
    gone = come = space = "";
  };
  for (const [op, text] of pairs) {
    if (op === 0) {
      if ((gone || come) && !space && /^\s+$/.test(text)) {
        space = text;
        continue;
      }
      close();
      add(0, text);
      continue;
    }
    if (space) {
      // What stands on both sides of the space belongs together.
      if (gone) gone += space;
      if (come) come += space;
      if (!gone || !come) gone = gone || space, come = come || space;
      space = "";
    }
    if (op < 0) gone += text;
    else come += text;
  }
  close();
  return out;
}
