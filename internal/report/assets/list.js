// The list of samples: only the lines on screen are elements, whatever the number of samples.

const list = document.getElementById("list");
const space = document.getElementById("space");
const repeated = list !== null && list.dataset.repeated === "1";
const combos = Array.from(document.querySelectorAll("#by-combo option")).slice(1).map(function (o) { return o.textContent; });
const search = document.getElementById("q");
const matches = document.getElementById("matches");
const none = document.getElementById("none");
const filters = { verdict: -1, combo: -1, assertion: "", tag: "", group: "" };
const narrow = matchMedia("(max-width: 680px)");
const orders = {}; // name → numbers of all rows in that order
const lines = []; // the elements in use
let view = new Int32Array(0); // the numbers of the rows that match, in the chosen order
let current = 0; // place in view
let asked = 0; // counts the searches, so that an old one stops

function height() { return narrow.matches ? 68 : 44; }

function ordered(name) {
  if (orders[name]) return orders[name];
  const all = Int32Array.from(rows, function (_, i) { return i; });
  const by = function (key, up) {
    return function (a, b) {
      const x = rows[a][key], y = rows[b][key];
      if (x === y) return a - b;
      if (x === null) return 1;
      if (y === null) return -1;
      return up ? x - y : y - x;
    };
  };
  const worst = function (a, b) {
    return rows[b][F.critical] * (rows[b][F.verdict] < 3) - rows[a][F.critical] * (rows[a][F.verdict] < 3) || rows[a][F.verdict] - rows[b][F.verdict] || a - b;
  };
  const how = { worst: worst, score: by(F.score, true), latency: by(F.latency, false), cost: by(F.cost, false) }[name];
  if (how) all.sort(how);
  orders[name] = all;
  return all;
}

// passes says whether a row is let through by everything but the words and the verdict.
function passes(r) {
  return (filters.combo < 0 || r[F.combo] === filters.combo) &&
    (filters.assertion === "" || r[F.failing].includes(filters.assertion)) &&
    (filters.tag === "" || r[F.tags].includes(filters.tag)) &&
    (filters.group === "" || r[F.group] === filters.group);
}

// apply filters the rows. The index is searched at once, the texts afterwards, a block at a time.
async function apply() {
  const mine = ++asked;
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const hit = new Uint8Array(rows.length);
  const later = []; // rows whose texts are to be searched
  for (let i = 0; i < rows.length; i++) {
    if (!passes(rows[i])) continue;
    if (words.every(function (w) { return hay(i).includes(w); })) hit[i] = 1;
    else if (!rows[i][F.bare]) later.push(i);
  }
  list.scrollTop = 0;
  current = 0;
  view = new Int32Array(0);
  present(hit, later.length > 0 ? "searching…" : "");
  if (later.length === 0) return;
  let shown = performance.now(), paused = shown;
  for (let i = 0; i < later.length;) {
    const block = blockOf(later[i]);
    const texts = await linesOf(block);
    if (mine !== asked) return;
    for (; i < later.length && later[i] < block.from + block.rows; i++) {
      if (inTexts(texts[later[i] - block.from], later[i], words)) hit[later[i]] = 1;
    }
    const now = performance.now();
    if (now - paused > 30) {
      await new Promise(function (resume) { setTimeout(resume, 0); });
      if (mine !== asked) return;
      paused = performance.now();
    }
    if (now - shown > 300) {
      shown = now;
      present(hit, "searching… " + Math.floor(100 * i / later.length) + "%");
    }
  }
  present(hit, "");
}

// present counts the hits by verdict and shows those of the chosen one.
function present(hit, note) {
  const selected = view[current];
  const counts = [0, 0, 0, 0];
  const order = ordered(document.getElementById("order").value);
  const out = new Int32Array(rows.length);
  let n = 0, total = 0;
  for (const i of order) {
    if (!hit[i]) continue;
    const v = rows[i][F.verdict];
    counts[v]++;
    total++;
    if (filters.verdict < 0 || v === filters.verdict) out[n++] = i;
  }
  view = out.slice(0, n);
  current = Math.max(0, selected === undefined ? 0 : view.indexOf(selected));
  for (const b of document.querySelectorAll("#tools button[data-verdict]")) {
    const k = VERDICTS.findIndex(function (v) { return v[0] === b.dataset.verdict; });
    b.querySelector(".n").textContent = (k < 0 ? total : counts[k]).toLocaleString("en");
  }
  matches.textContent = [n === rows.length ? "" : n.toLocaleString("en") + " of " + rows.length.toLocaleString("en"), note].filter(Boolean).join(" · ");
  none.hidden = n > 0 || note !== "";
  space.style.height = n * height() + "px";
  draw(true);
}

// draw puts the lines on screen into elements, which it uses again and again.
function draw(changed) {
  const h = height();
  const first = Math.max(0, Math.floor(list.scrollTop / h) - 6);
  const last = Math.min(view.length, Math.ceil((list.scrollTop + list.clientHeight) / h) + 6);
  while (lines.length < last - first) {
    const e = el("div", "item");
    e.setAttribute("role", "option");
    e.place = -1;
    lines.push(e);
    space.append(e);
  }
  for (let place = first; place < last; place++) {
    const e = lines[place % lines.length];
    if (changed || e.place !== place) fillLine(e, place, h);
    const on = place === current;
    e.setAttribute("aria-selected", String(on));
    e.classList.toggle("on", on);
  }
  for (const e of lines) e.hidden = e.place < first || e.place >= last;
  if (view.length > 0) list.setAttribute("aria-activedescendant", "line-" + current);
  else list.removeAttribute("aria-activedescendant");
}

function fillLine(e, place, h) {
  const row = view[place], r = rows[row];
  const [verdict, mark] = VERDICTS[r[F.verdict]];
  e.place = place;
  e.id = "line-" + place;
  e.setAttribute("aria-setsize", String(view.length));
  e.setAttribute("aria-posinset", String(place + 1));
  e.style.transform = "translateY(" + place * h + "px)";
  const m = el("span", "mark v-" + verdict, mark);
  m.setAttribute("aria-label", verdict);
  const name = el("span", "case", nameOf(row));
  if (r[F.critical]) name.append(" ", el("span", "flag", r[F.critical] > 0 ? "critical" : "in quarantine"));
  if (combos.length > 1) name.append(el("small", "", combos[r[F.combo]]));
  const why = el("span", "why", r[F.why]);
  why.dir = "auto";
  e.replaceChildren(m, name, why, el("span", "num score", r[F.scoreText]), el("span", "num time", r[F.latencyText]));
}

// select makes a row the current one, if it is in the view, and brings it on screen.
function select(row) {
  const place = view[current] === row ? current : view.indexOf(row);
  if (place >= 0) moveTo(place);
}

function moveTo(place) {
  if (view.length === 0) return;
  current = Math.min(Math.max(place, 0), view.length - 1);
  const h = height(), top = current * h;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + h > list.scrollTop + list.clientHeight) list.scrollTop = top + h - list.clientHeight;
  draw(false);
}

function step(by) {
  const before = current;
  moveTo(current + by);
  if (current !== before) show(view[current]);
}

// choices fills a filter with the values that occur, the most frequent first.
function choices(id, key, field, several) {
  const select = document.getElementById(id);
  const counts = new Map();
  for (const r of rows) {
    for (const v of several ? r[field] : [r[field]]) if (v !== "") counts.set(v, (counts.get(v) || 0) + 1);
  }
  const values = Array.from(counts).sort(function (a, b) { return b[1] - a[1] || (a[0] < b[0] ? -1 : 1); }).slice(0, 500);
  for (const [value, n] of values) {
    const o = el("option", "", (value.length > 60 ? value.slice(0, 59) + "…" : value) + " (" + n.toLocaleString("en") + ")");
    o.value = value;
    select.append(o);
  }
  select.hidden = values.length === 0;
  select.addEventListener("change", function () {
    filters[key] = select.value;
    apply();
  });
}

// slices turns the names in the tables of parts into buttons that filter the list.
function slices() {
  for (const part of document.querySelectorAll("[data-slice]")) {
    const key = part.dataset.slice, select = document.getElementById("by-" + key);
    for (const name of part.querySelectorAll("th[scope=row] .name")) {
      const value = key === "combo" ? name.textContent : name.title;
      const b = el("button", "slice", name.textContent);
      b.type = "button";
      b.title = "Show these samples";
      b.addEventListener("click", function () {
        if (!Array.from(select.options).some(function (o) { return o.value === value; })) {
          const o = el("option", "", value); // one of those that there was no room for
          o.value = value;
          select.append(o);
        }
        select.value = value;
        select.dispatchEvent(new Event("change"));
        document.getElementById("samples").scrollIntoView();
        list.focus();
      });
      name.replaceChildren(b);
    }
  }
}

function listen() {
  let timer = 0;
  search.addEventListener("input", function () {
    clearTimeout(timer);
    timer = setTimeout(apply, 150);
  });
  document.getElementById("order").addEventListener("change", apply);
  const combo = document.getElementById("by-combo");
  combo.addEventListener("change", function () {
    filters.combo = combo.selectedIndex - 1;
    apply();
  });
  const buttons = Array.from(document.querySelectorAll("#tools button[data-verdict]"));
  for (const b of buttons) {
    b.addEventListener("click", function () {
      filters.verdict = VERDICTS.findIndex(function (v) { return v[0] === b.dataset.verdict; });
      for (const o of buttons) o.setAttribute("aria-pressed", String(o === b));
      apply();
    });
  }
  let drawing = false;
  list.addEventListener("scroll", function () {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(function () {
      drawing = false;
      draw(false);
    });
  }, { passive: true });
  list.addEventListener("click", function (e) {
    const line = e.target.closest(".item");
    if (!line) return;
    current = line.place;
    show(view[current]);
  });
  list.addEventListener("keydown", function (e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const page = Math.max(1, Math.floor(list.clientHeight / height()) - 1);
    const to = { ArrowDown: current + 1, j: current + 1, ArrowUp: current - 1, k: current - 1, PageDown: current + page, PageUp: current - page, Home: 0, End: view.length - 1 }[e.key];
    if (to !== undefined) {
      e.preventDefault();
      moveTo(to);
    } else if ((e.key === "Enter" || e.key === " ") && view.length > 0) {
      e.preventDefault();
      show(view[current]);
    }
  });
  document.addEventListener("keydown", function (e) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement ? document.activeElement.tagName : "");
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (dialog.open) {
      if (!typing && (e.key === "j" || e.key === "ArrowRight")) step(1);
      if (!typing && (e.key === "k" || e.key === "ArrowLeft")) step(-1);
    } else if (e.key === "/" && !typing) {
      e.preventDefault();
      search.focus();
    } else if (e.key === "Escape" && document.activeElement === search) {
      search.value = "";
      apply();
    }
  });
  document.getElementById("sample-prev").addEventListener("click", function () { step(-1); });
  document.getElementById("sample-next").addEventListener("click", function () { step(1); });
  document.getElementById("sample-close").addEventListener("click", function () { dialog.close(); });
  dialog.addEventListener("click", function (e) { if (e.target === dialog) dialog.close(); });
  dialog.addEventListener("close", function () {
    open = -1;
    history.replaceState(null, "", "#samples");
    list.focus();
  });
  narrow.addEventListener("change", apply);
  new ResizeObserver(function () { draw(false); }).observe(list);
}

// atHash opens the sample that the address names.
function atHash() {
  const m = /^#sample-(\d+)$/.exec(location.hash);
  if (!m) return;
  const row = rows.findIndex(function (r) { return r[F.index] === Number(m[1]); });
  if (row >= 0 && row !== open) show(row);
}

async function start() {
  if (list === null || document.querySelector("script.index") === null) return;
  const showing = document.getElementById("showing");
  const plain = showing.textContent;
  if (typeof DecompressionStream === "undefined") {
    showing.textContent = plain + " This browser cannot unpack the others.";
    return;
  }
  const total = Number(list.dataset.total);
  try {
    await load(function () { showing.textContent = "Unpacking the samples… " + Math.floor(100 * rows.length / total) + "%"; });
  } catch (err) {
    showing.textContent = plain + " The others could not be unpacked: " + err.message;
    return;
  }
  const bare = rows.reduce(function (n, r) { return n + r[F.bare]; }, 0);
  const n = rows.length.toLocaleString("en");
  showing.textContent = (rows.length === total ? "All " + n + " samples" : n + " of " + total.toLocaleString("en") + " samples, those that did not pass first") +
    (bare > 0 ? ", " + bare.toLocaleString("en") + " of them without their texts" : "") + ". Long texts are clipped; everything is in samples.jsonl.";
  choices("by-assertion", "assertion", F.failing, true);
  choices("by-tag", "tag", F.tags, true);
  choices("by-group", "group", F.group, false);
  document.getElementById("rows").remove();
  for (const id of ["tools", "list", "keys"]) document.getElementById(id).hidden = false;
  slices();
  listen();
  await apply();
  atHash();
  addEventListener("hashchange", atHash);
  document.documentElement.dataset.ready = "1";
}

start();
