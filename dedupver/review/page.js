"use strict";
(() => {
  const { names, rows } = JSON.parse(document.getElementById("pairs").textContent);
  const cards = [...document.querySelectorAll("article")];
  const said = rows.map(() => "");
  let at = 0, saved = true;
  document.documentElement.className = "js";
  const show = () => {
    cards.forEach((card, n) => card.classList.toggle("on", n === at));
    const done = said.filter(Boolean).length;
    document.querySelector("progress").value = done;
    document.getElementById("done").textContent = `${done} of ${rows.length} labelled, at ${at + 1}`;
    window.scrollTo(0, 0);
  };
  const go = (n) => { at = Math.max(0, Math.min(rows.length - 1, n)); show(); };
  const label = (word) => {
    if (!rows.length) return;
    said[at] = word;
    cards[at].dataset.label = word;
    saved = false;
    go(at + 1);
  };
  const keys = {
    s: () => label("same"), d: () => label("different"), " ": () => label(""),
    ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "BUTTON" && event.key === " ") return;
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
  const labelled = () => rows.map((row, n) => ({ ...row, label: said[n] })).filter((row) => row.label);
  const cell = (text) => `"${(/^[=+\-@\t\r\n']/.test(text) ? "'" + text : text).replaceAll('"', '""')}"`;
  const csv = () => [names, ...labelled().map((row) => names.map((name) => row[name]))]
    .map((cells) => cells.map(cell).join(",") + "\n").join("");
  const jsonl = () => labelled().map((row) => JSON.stringify(row) + "\n").join("");
  const save = (text, type, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    saved = true;
  };
  const act = {
    same: keys.s, different: keys.d, skip: keys[" "],
    csv: () => save(csv(), "text/csv", "labels.csv"), jsonl: () => save(jsonl(), "application/jsonl", "labels.jsonl"),
  };
  for (const [id, does] of Object.entries(act)) document.getElementById(id).addEventListener("click", does);
  window.addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });
  show();
})();
