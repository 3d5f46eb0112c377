"use strict";
(function () {
  const $ = function (id) { return document.getElementById(id); };
  const number = function (n) { return n.toLocaleString("en"); };
  const name = document.title.replace(/: running$/, "");

  function cell(tag, className, text) {
    const e = document.createElement(tag);
    if (className) e.className = className;
    e.textContent = text;
    return e;
  }

  function row(...cells) {
    const tr = document.createElement("tr");
    tr.append(...cells);
    return tr;
  }

  function said(id, text) {
    $(id).hidden = text === "";
    $(id).textContent = text;
  }

  function show(s) {
    const percent = s.total > 0 ? Math.floor(100 * s.done / s.total) : 0;
    document.title = percent + "% " + name + ": running";
    $("progress-text").textContent = number(s.done) + " of " + number(s.total) + " samples, " + percent + "%";
    $("bar").style.width = percent + "%";
    $("rate").textContent = s.rate.value;
    $("interval").textContent = s.rate.interval ? s.rate.count + ", 95% " + s.rate.interval : "nothing was judged yet";
    $("done").textContent = number(s.done);
    $("total").textContent = "of " + number(s.total) + " planned";
    $("speed").textContent = s.speed || "…";
    $("left").textContent = s.left ? "samples a second, about " + s.left + " left" : "";
    $("tokens").textContent = s.tokens;
    $("started").textContent = s.started ? "since " + s.started : "";
    $("cost").textContent = s.cost || "unknown";
    $("resumed").textContent = s.resumed > 0 ? "resumed " + s.resumed + " times" : "";
    for (const key of ["Passed", "Failed", "Errored", "Undecided"]) $("n-" + key).textContent = number(s.counts[key]);
    said("round", s.round || "");
    said("quiet", s.quiet ? "Nothing was written for " + s.quiet + ". If the process has ended, telltale run --resume goes on with the run." : "");
    said("trouble", s.trouble || "");
    const combos = s.combos || [], errors = s.errors || [], recent = s.recent || [];
    $("combos-card").hidden = combos.length === 0;
    $("combos").replaceChildren(...combos.map(function (c) {
      return row(cell("th", "", c.name), cell("td", "num value", c.rate.value), cell("td", "num", c.rate.interval), cell("td", "num", c.rate.count), cell("td", "num", c.missing > 0 ? number(c.missing) : ""));
    }));
    $("errors-card").hidden = errors.length === 0;
    $("errors").replaceChildren(...errors.map(function (e) { return row(cell("td", "num value", number(e.n)), cell("td", "wide", e.reason)); }));
    $("no-recent").hidden = recent.length > 0;
    $("recent").replaceChildren(...recent.map(function (h) {
      const mark = cell("td", "mark v-" + h.class, h.mark);
      const what = cell("td", "wide", h.why);
      if (h.output) what.append(cell("div", "out", h.output));
      what.dir = "auto";
      const id = cell("td", "case", h.case);
      if (combos.length > 0) id.append(cell("small", "", h.combo));
      return row(mark, id, what);
    }));
  }

  const source = new EventSource("events");
  source.addEventListener("state", function (e) {
    $("headline").textContent = "Running";
    show(JSON.parse(e.data));
  });
  source.addEventListener("finished", function () {
    source.close();
    $("headline").textContent = "Finished";
    location.reload();
  });
  source.addEventListener("error", function () { $("headline").textContent = "Not connected"; });
}());
