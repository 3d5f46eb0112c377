// Samples: a short line of each, unpacked at the start, and its texts, unpacked when they are needed.
// Both are lists by position; embed.go writes them.
const F = {
  index: 0, id: 1, repeat: 2, combo: 3, verdict: 4, critical: 5, score: 6, latency: 7, cost: 8,
  scoreText: 9, latencyText: 10, why: 11, tags: 12, failing: 13, group: 14, bare: 15,
};
const T = {
  reasons: 0, scores: 1, input: 2, vars: 3, output: 4, refusal: 5, error: 6, facts: 7, expected: 8, more: 9, turns: 10, calls: 11, raw: 12,
};
const VERDICTS = [["fail", "✗", "FAILED"], ["error", "!", "ERROR"], ["undecided", "?", "UNDECIDED"], ["pass", "✓", "PASSED"]];

const rows = []; // the short lines
const blocks = []; // {element, from, rows}: where the texts are
const byCase = new Map(); // id → numbers of rows
const unpacked = new Map(); // block → lines, the least recently used first
const KEEP = 64e6; // characters of unpacked texts that are kept
let kept = 0;

async function unpack(element) {
  const packed = atob(element.textContent);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  return text.split("\n").slice(0, -1);
}

// load reads the index. Names that occur again and again are kept once.
async function load(progress) {
  const names = new Map();
  const once = function (name) {
    if (!names.has(name)) names.set(name, name);
    return names.get(name);
  };
  for (const element of document.querySelectorAll("script.index")) {
    for (const line of await unpack(element)) {
      const row = JSON.parse(line);
      row[F.tags] = row[F.tags].map(once);
      row[F.failing] = row[F.failing].map(once);
      row[F.group] = once(row[F.group]);
      const same = byCase.get(row[F.id]);
      if (same) {
        row[F.id] = rows[same[0]][F.id];
        same.push(rows.length);
      } else {
        byCase.set(row[F.id], [rows.length]);
      }
      rows.push(row);
    }
    element.remove();
    progress();
  }
  let from = 0;
  for (const element of document.querySelectorAll("script.texts")) {
    const n = Number(element.dataset.rows);
    blocks.push({ element: element, from: from, rows: n });
    from += n;
  }
  if (from !== rows.length) throw new Error("the file is not whole: " + from + " texts for " + rows.length + " samples");
}

function blockOf(row) {
  let low = 0, high = blocks.length - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (blocks[mid].from <= row) low = mid;
    else high = mid - 1;
  }
  return blocks[low];
}

async function linesOf(block) {
  let lines = unpacked.get(block);
  if (lines) {
    unpacked.delete(block);
    unpacked.set(block, lines);
    return lines;
  }
  lines = await unpack(block.element);
  block.size = lines.reduce(function (n, line) { return n + line.length; }, 0);
  if (!unpacked.has(block)) kept += block.size;
  unpacked.set(block, lines);
  for (const old of unpacked.keys()) {
    if (kept <= KEEP || old === block) break;
    unpacked.delete(old);
    kept -= old.size;
  }
  return lines;
}

// texts is everything about a row that the index does not hold; null when the page was full.
async function texts(row) {
  if (rows[row][F.bare]) return null;
  const block = blockOf(row);
  return JSON.parse((await linesOf(block))[row - block.from]);
}

function nameOf(row) {
  const r = rows[row];
  return repeated || r[F.repeat] > 0 ? r[F.id] + " #" + (r[F.repeat] + 1) : r[F.id];
}

const hays = []; // lower-case text of a row's index line, made when it is first searched

function hay(row) {
  if (hays[row] === undefined) {
    const r = rows[row];
    hays[row] = [r[F.id], combos[r[F.combo]], r[F.why], r[F.tags].join(" "), r[F.failing].join(" "), r[F.group], VERDICTS[r[F.verdict]][0]].join("\n").toLowerCase();
  }
  return hays[row];
}

// inTexts looks for the words that the index line of a row does not have in its texts, which are JSON:
// the words are escaped as JSON escapes them.
function inTexts(line, row, words) {
  const text = line.toLowerCase();
  return words.every(function (w) {
    return hay(row).includes(w) || text.includes(JSON.stringify(w).slice(1, -1));
  });
}
