"use strict";
(function () {
  const tools = document.getElementById("tools");
  const rows = Array.from(document.querySelectorAll("details.row"));
  if (!tools || rows.length === 0) return;
  const search = document.getElementById("q");
  const combo = document.getElementById("combo");
  const toggle = document.getElementById("toggle");
  const matches = document.getElementById("matches");
  const none = document.getElementById("none");
  const buttons = Array.from(tools.querySelectorAll("button[data-verdict]"));
  let texts = null; // lower-case text of each row, made when it is first needed
  let verdict = "";
  let timer = 0;

  function apply() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length > 0 && texts === null) texts = rows.map(function (r) { return r.textContent.toLowerCase(); });
    let n = 0;
    rows.forEach(function (row, i) {
      const show = (verdict === "" || row.dataset.verdict === verdict) &&
        (!combo || combo.value === "" || row.dataset.combo === combo.value) &&
        words.every(function (w) { return texts[i].includes(w); });
      row.hidden = !show;
      if (show) n++;
    });
    matches.textContent = n === rows.length ? "" : n + " of " + rows.length;
    none.hidden = n > 0;
  }

  search.addEventListener("input", function () {
    clearTimeout(timer);
    timer = setTimeout(apply, 120);
  });
  if (combo) combo.addEventListener("change", apply);
  buttons.forEach(function (b) {
    b.addEventListener("click", function () {
      verdict = b.dataset.verdict;
      buttons.forEach(function (o) { o.setAttribute("aria-pressed", String(o === b)); });
      apply();
    });
  });
  // Opening thousands of rows at once would stall the page; a screenful of matches will do.
  toggle.addEventListener("click", function () {
    const open = toggle.getAttribute("aria-expanded") !== "true";
    let left = 200;
    rows.forEach(function (row) {
      if (!open) row.open = false;
      else if (!row.hidden && left-- > 0) row.open = true;
    });
    toggle.setAttribute("aria-expanded", String(open));
    toggle.textContent = open ? "Collapse all" : "Expand";
  });
  document.addEventListener("keydown", function (e) {
    const at = document.activeElement;
    if (e.key === "/" && !e.ctrlKey && !e.metaKey && !e.altKey && !(at && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName))) {
      e.preventDefault();
      search.focus();
    }
    if (e.key === "Escape" && at === search) {
      search.value = "";
      apply();
    }
  });
  tools.hidden = false;
}());
