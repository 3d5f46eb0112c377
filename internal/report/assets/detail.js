// One sample in a dialog, with the same case's other answers beside it. All text goes in as text nodes.

const dialog = document.getElementById("sample");
const MOST_BESIDE = 24; // other answers shown beside one
let open = -1; // number of the row in the dialog
let against = ""; // name of the expected text that outputs are compared with; "" shows the output
let beside = false; // the other answers are shown as differences

function el(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function badge(verdict, mark, word) {
  const b = el("span", "badge v-" + verdict);
  const m = el("span", "mark", mark);
  m.setAttribute("aria-hidden", "true");
  b.append(m, word);
  return b;
}

function pre(text) {
  const p = el("pre", "", text);
  p.dir = "auto";
  p.tabIndex = 0;
  return p;
}

// diffView shows what is missing of the wanted text and what was put in.
function diffView(wanted, got) {
  const p = pre("");
  p.className = "diff";
  for (const [op, text] of differences(wanted, got)) p.append(op === 0 ? text : el(op < 0 ? "del" : "ins", "", text));
  return p;
}

function section(title, ...parts) {
  const d = el("div");
  d.append(el("h4", "", title), ...parts);
  return d;
}

function folded(title, text) {
  const d = el("details", "detail");
  d.append(el("summary", "", title), pre(text));
  return d;
}

function scoresView(t) {
  const table = el("table", "data scores");
  const body = el("tbody");
  for (const [cls, mark, word, name, type, value, reason, detail, instructions, depth] of t[T.scores]) {
    const tr = el("tr");
    const verdict = el("td");
    verdict.append(badge(cls, mark, word));
    const th = el("th", depth > 0 ? "part part-" + depth : "", name || type);
    th.scope = "row";
    if (type && name) th.append(" ", el("small", "", type));
    const why = el("td", "wide", reason);
    why.dir = "auto";
    if (instructions) {
      const list = el("table", "instructions");
      for (const [id, strict, loose] of instructions) {
        const line = el("tr");
        line.append(el("td", "", id), el("td", strict ? "v-pass" : "v-fail", strict ? "✓ strict" : "✗ strict"), el("td", loose ? "v-pass" : "v-fail", loose ? "✓ loose" : "✗ loose"));
        list.append(line);
      }
      why.append(list);
    }
    if (detail) why.append(folded("Detail", detail));
    tr.append(verdict, th, el("td", "num value", value), why);
    body.append(tr);
  }
  table.append(body);
  return table;
}

// outputView is the output, or its difference from one of the expected texts.
function outputView(t) {
  const box = el("div");
  const fill = function () {
    box.replaceChildren(el("h4", "", "Output"));
    const want = t[T.expected].find(function (e) { return e[0] === against; });
    if (t[T.expected].length > 0) {
      const choice = el("div", "buttons");
      choice.setAttribute("role", "group");
      choice.setAttribute("aria-label", "Compare the output");
      const button = function (name, label) {
        const b = el("button", "", label);
        b.type = "button";
        b.setAttribute("aria-pressed", String(name === (want ? against : "")));
        b.addEventListener("click", function () {
          against = name;
          fill();
        });
        choice.append(b);
      };
      button("", "as it is");
      for (const [name] of t[T.expected]) button(name, "against " + name);
      box.append(choice);
    }
    if (want) {
      box.append(diffView(want[1], t[T.output]));
      const legend = el("p", "muted small");
      legend.append(el("del", "", "expected, not there"), " ", el("ins", "", "there, not expected"));
      box.append(legend);
    } else {
      box.append(t[T.output] ? pre(t[T.output]) : el("p", "muted", "empty"));
    }
    if (t[T.raw]) box.append(folded("The model's own output", t[T.raw]));
    if (t[T.calls]) box.append(el("h4", "", "Tool calls"), pre(t[T.calls]));
    if (t[T.refusal]) box.append(el("h4", "", "Refusal"), pre(t[T.refusal]));
  };
  fill();
  return box;
}

function textsView(t) {
  const both = el("div", "texts");
  const left = section("Prompt", t[T.input] ? pre(t[T.input]) : el("p", "muted", "not recorded"));
  if (t[T.turns]) left.append(el("h4", "", "Earlier turns"), pre(t[T.turns]));
  for (const [name, text] of t[T.expected]) left.append(el("h4", "", "Expected (" + name + ")"), pre(text));
  if (t[T.vars]) left.append(folded("Variables", t[T.vars]));
  both.append(left, outputView(t));
  return both;
}

// besideView shows the answers of other providers, prompts and repeats to the same case.
async function besideView(row, t) {
  const all = byCase.get(rows[row][F.id]);
  if (all.length < 2) return null;
  const others = all.filter(function (n) { return n !== row; });
  const box = el("div", "beside");
  const label = el("label", "check");
  const check = el("input");
  check.type = "checkbox";
  check.checked = beside;
  label.append(check, "show what differs from this answer");
  box.append(el("h4", "", "The same case elsewhere"), label);
  if (others.length > MOST_BESIDE) box.append(el("p", "muted small", "The first " + MOST_BESIDE + " of " + others.length + "."));
  const grid = el("div", "columns");
  const answers = await Promise.all(others.slice(0, MOST_BESIDE).map(async function (n) { return [n, await texts(n)]; }));
  const fill = function () {
    grid.replaceChildren();
    for (const [n, other] of answers) {
      const r = rows[n], column = el("div"), head = el("button", "head");
      head.type = "button";
      head.append(badge(...VERDICTS[r[F.verdict]]), " ", el("strong", "", combos[r[F.combo]]), " ", el("span", "muted", (repeated ? "#" + (r[F.repeat] + 1) + " " : "") + r[F.scoreText]));
      head.addEventListener("click", function () { show(n); });
      const output = other === null ? el("p", "muted", "The page was full: the text is in samples.jsonl.") :
        other[T.error] ? el("p", "muted", other[T.error]) : beside ? diffView(t[T.output], other[T.output]) : pre(other[T.output]);
      column.append(head, output);
      grid.append(column);
    }
  };
  check.addEventListener("change", function () {
    beside = check.checked;
    fill();
  });
  fill();
  box.append(grid);
  return box;
}

// show opens the dialog with a row, or puts another row into it.
async function show(row) {
  open = row;
  const r = rows[row];
  document.getElementById("sample-badge").replaceChildren(badge(...VERDICTS[r[F.verdict]]));
  document.getElementById("sample-name").textContent = nameOf(row);
  document.getElementById("sample-about").textContent = (combos.length > 1 ? combos[r[F.combo]] : "") + (r[F.critical] > 0 ? " critical" : r[F.critical] < 0 ? " in quarantine" : "");
  const body = document.getElementById("sample-body");
  if (!dialog.open) {
    body.replaceChildren();
    dialog.showModal();
  }
  history.replaceState(null, "", "#sample-" + r[F.index]);
  select(row);
  const parts = [];
  const t = await texts(row);
  if (t === null) {
    parts.push(el("p", "muted", "The page was full before this sample: its texts are in samples.jsonl, line " + r[F.index] + "."));
    if (r[F.why]) parts.push(pre(r[F.why]));
  } else {
    if (t[T.reasons].length > 0 || t[T.error]) {
      const list = el("ul", "reasons");
      for (const reason of t[T.reasons].length > 0 ? t[T.reasons] : [t[T.error]]) {
        const li = el("li", "", reason);
        li.dir = "auto";
        list.append(li);
      }
      parts.push(section("Why", list));
    }
    parts.push(textsView(t));
    if (t[T.scores].length > 0) parts.push(section("Scores", scoresView(t)));
    if (t[T.more] > 0) parts.push(el("p", "muted small", t[T.more] + " more scores are in samples.jsonl."));
    const others = await besideView(row, t);
    if (others) parts.push(others);
    const facts = el("p", "facts");
    for (const [name, value] of t[T.facts]) {
      const f = el("span");
      f.append(el("b", "", name), " ", value);
      facts.append(f, " ");
    }
    if (r[F.tags].length > 0) {
      const f = el("span");
      f.append(el("b", "", "tags"), " ", ...r[F.tags].map(function (tag) { return el("code", "tag", tag); }));
      facts.append(f);
    }
    parts.push(facts);
  }
  if (open !== row) return; // another one was asked for meanwhile
  body.replaceChildren(...parts);
  body.scrollTop = 0;
}
