"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
  const nameOf = (code) => data.languages[code]?.[0] ?? code;
  const dirOf = (code) => data.languages[code]?.[1] ?? "auto";

  /** An element with attributes and children; texts are set as text, never as markup. */
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
      else if (key.startsWith("aria-")) node.setAttribute(key, String(value));
      else if (value === true) node.setAttribute(key, "");
      else if (value !== false && value != null) node.setAttribute(key, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }
  const speak = (code) => ({ lang: code, dir: dirOf(code) });

  // Heat maps: one of a group is shown at a time, a cell tells its numbers and leads to its examples.
  const tip = byId("tip");
  function showTip(cell) {
    tip.textContent = cell.dataset.tip;
    tip.hidden = false;
    const at = cell.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = at.top - size.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above < 8 ? at.bottom + 8 : above}px`;
  }
  for (const cell of document.querySelectorAll("[data-tip]")) {
    cell.addEventListener("mouseenter", () => showTip(cell));
    cell.addEventListener("focus", () => showTip(cell));
    for (const event of ["mouseleave", "blur"]) cell.addEventListener(event, () => (tip.hidden = true));
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
  addEventListener("scroll", () => (tip.hidden = true), { passive: true });
  for (const chooser of document.querySelectorAll("[data-shows]")) {
    const panels = document.querySelectorAll(`[data-panel="${chooser.dataset.shows}"]`);
    const fields = [...chooser.querySelectorAll("select")];
    const update = () => {
      const key = fields.map((field) => field.value).join("-");
      for (const panel of panels) panel.hidden = panel.dataset.key !== key;
    };
    for (const field of fields) field.addEventListener("change", update);
    update();
  }

  // The example browser.
  const home = byId("browser");
  if (!home) return;
  const PAGE = 60, ROW = 6;
  const state = { group: 0, run: 0, question: "", context: "", outcome: "", search: "", shown: PAGE, row: -1, rows: [] };
  const usable = data.examples.map((entry, index) => (entry.seeds ? index : -1)).filter((index) => index >= 0);
  if (!usable.length) return;
  state.group = usable[0];
  let told = null;
  addEventListener("scroll", () => (told = null), { passive: true });
  for (const cell of document.querySelectorAll("button[data-question]")) {
    if (!usable.includes(+cell.dataset.group)) {
      cell.dataset.tip += "\nits texts are not here, so there are no examples";
      continue;
    }
    cell.addEventListener("click", (event) => {
      // Where nothing hovers, the first touch tells the numbers.
      if (event.pointerType === "touch" && told !== cell) {
        told = cell;
        return showTip(cell);
      }
      const { group, question, context, run } = cell.dataset;
      open(+group, { run: +run, question, context, outcome: "" });
      remember("pushState");
      goToExamples();
    });
  }
  function goToExamples() {
    byId("examples").scrollIntoView();
    byId("examples-heading").focus({ preventScroll: true });
  }
  const entry = () => data.examples[state.group];
  const runNames = () => data.groups[state.group].runs;
  const fields = {};
  for (const name of ["group", "run", "question", "context", "outcome", "search"]) fields[name] = byId(`pick-${name}`);

  function row(index) {
    const { asked, languages, seeds } = entry();
    const [seed, question, context] = asked.slice(3 * index, 3 * index + 3);
    return { index, seed: seeds[seed], number: seed, question: languages[question], context: languages[context] };
  }
  function result(index, run = state.run) {
    const [start, end, f1, em, rank, probability] = entry().runs[run].slice(ROW * index, ROW * index + ROW);
    return { start, end, f1, em, rank, probability, kind: em ? "right" : f1 ? "part" : "wrong" };
  }
  const KINDS = { right: "exact", part: "partly right", wrong: "wrong" };
  const chip = (found) => make("span", { class: `chip ${found.kind}` }, found.kind === "part" ? `F1 ${found.f1}` : KINDS[found.kind]);
  const passage = (seed, language) => entry().passages[seed.c[language]];
  const cut = (seed, language, [start, end]) => passage(seed, language).slice(start, end);

  function options(field, values, chosen) {
    field.replaceChildren(...values.map(([value, label]) => make("option", { value, selected: value === chosen }, label)));
  }
  function fillFields() {
    const languages = entry().languages.map((code) => [code, nameOf(code)]);
    if (fields.group) options(fields.group, usable.map((index) => [String(index), data.groups[index].label]), String(state.group));
    if (fields.run) options(fields.run, runNames().map((name, index) => [String(index), name]), String(state.run));
    options(fields.question, [["", "any language"], ...languages], state.question);
    options(fields.context, [["", "any language"], ...languages], state.context);
    fields.outcome.value = state.outcome;
  }
  function filter() {
    const wanted = state.search.trim().toLocaleLowerCase();
    const found = [];
    for (let index = 0; index < entry().asked.length / 3; index++) {
      const item = row(index);
      if (state.question && item.question !== state.question) continue;
      if (state.context && item.context !== state.context) continue;
      if (state.outcome && result(index).kind !== state.outcome) continue;
      if (wanted && item.seed.id !== state.search.trim() && !item.seed.q[item.question].toLocaleLowerCase().includes(wanted)) continue;
      found.push(index);
    }
    state.rows = found;
    state.shown = PAGE;
    if (!found.includes(state.row)) state.row = found[0] ?? -1;
  }
  function drawList() {
    const items = state.rows.slice(0, state.shown).map((index) => {
      const item = row(index);
      return make("li", {},
        make("button", { type: "button", "aria-current": index === state.row, "data-focus": `row-${index}`, on: { click: () => choose(index) } },
          make("div", speak(item.question), item.seed.q[item.question]),
          make("div", { class: "meta" }, make("span", {}, `${nameOf(item.question)} → ${nameOf(item.context)}`), chip(result(index)))));
    });
    if (state.rows.length > state.shown) {
      items.push(make("li", {}, make("button", { type: "button", on: { click: () => { state.shown += PAGE; drawList(); } } },
        `Show ${Math.min(PAGE, state.rows.length - state.shown)} more of ${(state.rows.length - state.shown).toLocaleString("en")}`)));
    }
    byId("example-list").replaceChildren(...items);
    byId("example-count").textContent = state.rows.length === 1 ? "1 example" : `${state.rows.length.toLocaleString("en")} examples`;
  }

  /** A context with the gold answers and a prediction marked; marks may overlap. */
  function marked(seed, language, found, around = 0) {
    const text = passage(seed, language), golds = seed.a[language] ?? [];
    const spans = golds.map(([start, end]) => [start, end, "gold"]);
    if (found && found.start >= 0) spans.push([found.start, found.end, "answer"]);
    let from = 0, to = text.length;
    if (around && spans.length) {
      from = Math.max(0, Math.min(...spans.map((span) => span[0])) - around);
      to = Math.min(text.length, Math.max(...spans.map((span) => span[1])) + around);
      for (let spare = 24; from > 0 && spare > 0 && !/[\s。、，।]/.test(text[from - 1]); spare--) from--;
      for (let spare = 24; to < text.length && spare > 0 && !/[\s。、，।]/.test(text[to]); spare--) to++;
    }
    const edges = [...new Set([from, to, ...spans.flatMap((span) => span.slice(0, 2))])].filter((edge) => edge >= from && edge <= to).sort((a, b) => a - b);
    const node = make("p", { class: "context", ...speak(language) });
    if (from > 0) node.append("… ");
    let before = "";
    edges.slice(0, -1).forEach((edge, index) => {
      const piece = text.slice(edge, edges[index + 1]);
      const inside = new Set(spans.filter(([start, end]) => start <= edge && end >= edges[index + 1]).map((span) => span[2]));
      const kind = inside.size === 2 ? "both" : [...inside][0] ?? "";
      if (!kind) node.append(piece);
      else {
        const said = { gold: "gold answer: ", answer: "model's answer: ", both: "gold and model's answer: " }[kind];
        node.append(make("mark", { class: kind }, kind === before ? null : make("span", { class: "hidden-text", lang: "en", dir: "ltr" }, said), piece));
      }
      before = kind;
    });
    if (to < text.length) node.append(" …");
    return node;
  }

  function answersTable(item) {
    const { seed, context } = item;
    const golds = [...new Set((seed.a[context] ?? []).map((span) => cut(seed, context, span)))];
    const line = (label, text, numbers) => make("tr", {},
      make("th", { scope: "row", class: "label" }, label),
      make("td", { class: "label answer", style: "white-space:normal;min-width:9rem", ...speak(context) }, text),
      ...numbers.map((number) => make("td", {}, number)));
    const rows = [line("gold", golds.join(" · ") || "no answer in this text", ["", "", "", ""])];
    runNames().forEach((name, run) => {
      const found = result(item.index, run);
      const text = found.start < 0 ? "no answer" : cut(seed, context, [found.start, found.end]);
      rows.push(line(name, text, [String(found.f1), found.em ? "yes" : "no", found.rank ? String(found.rank) : "–", `${found.probability}%`]));
    });
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Answers" }, make("table", { class: "data" },
      make("thead", {}, make("tr", {}, ...["whose", "answer", "F1", "exact", "rank", "probability"].map((head, index) => make("th", { scope: "col", class: index < 2 ? "label" : null }, head)))),
      make("tbody", {}, ...rows)));
  }

  function seedMatrix(item) {
    const { languages, asked } = entry();
    const rows = new Map();
    for (let index = 0; index < asked.length / 3; index++) if (asked[3 * index] === item.number) {
      rows.set(`${languages[asked[3 * index + 1]]}|${languages[asked[3 * index + 2]]}`, index);
    }
    const questions = languages.filter((code) => [...rows.keys()].some((key) => key.startsWith(`${code}|`)));
    const contexts = languages.filter((code) => [...rows.keys()].some((key) => key.endsWith(`|${code}`)));
    const cell = (question, context) => {
      const index = rows.get(`${question}|${context}`);
      if (index == null) return make("td", { class: "none" }, make("span", { class: "hidden-text" }, "not asked"));
      const found = result(index);
      const label = `Question in ${nameOf(question)}, text in ${nameOf(context)}: F1 ${found.f1}`;
      return make("td", { class: question === context ? "same" : null, style: data.scale[found.f1] },
        make("button", { type: "button", "aria-label": label, title: label, "aria-pressed": index === item.index, "data-focus": `${question}|${context}`, on: { click: () => choose(index) } }, String(found.f1)));
    };
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "F1 of this question in every pair of languages" },
      make("table", { class: "heat" },
        make("caption", {}, "F1 of this question in every pair of languages", make("br"), make("span", { class: "axis-label" }, "question ↓ text →")),
        make("thead", {}, make("tr", {}, make("td", {}), ...contexts.map((code) => make("th", { scope: "col" }, code)))),
        make("tbody", {}, ...questions.map((question) => make("tr", {}, make("th", { scope: "row" }, question), ...contexts.map((context) => cell(question, context)))))));
  }

  function sideBySide(item) {
    const { seed } = item, languages = entry().languages;
    const indexOf = new Map();
    for (let index = 0; index < entry().asked.length / 3; index++) {
      const other = row(index);
      if (other.number === item.number && other.question === item.question) indexOf.set(other.context, index);
    }
    return make("div", { class: "side" }, ...languages.filter((code) => seed.c[code] != null).map((code) => {
      const index = indexOf.get(code), found = index == null ? null : result(index);
      return make("article", { class: code === item.context ? "current" : null },
        make("h4", {}, make("span", {}, nameOf(code)), found ? chip(found) : null),
        seed.q[code] ? make("p", { class: "sub", ...speak(code) }, seed.q[code]) : null,
        marked(seed, code, found, 140));
    }));
  }

  function drawDetail() {
    const target = byId("example-detail");
    if (state.row < 0) return target.replaceChildren(make("p", { class: "muted" }, "No example is left. Choose other languages or another outcome."));
    const item = row(state.row), { seed } = item, found = result(state.row);
    const place = state.rows.indexOf(state.row);
    const step = (by, label) => make("button", { type: "button", class: "plain", "data-focus": label, disabled: state.rows[place + by] == null, on: { click: () => choose(state.rows[place + by]) } }, label);
    const parts = [
      make("div", { style: "display:flex;justify-content:space-between;align-items:center;gap:.6rem;flex-wrap:wrap" },
        make("p", { class: "muted", style: "margin:0" }, `Question in ${nameOf(item.question)}, text in ${nameOf(item.context)} `, chip(found)),
        make("span", { class: "screen-only" }, step(-1, "← Previous"), " ", step(1, "Next →"))),
      make("p", { class: "question", ...speak(item.question) }, seed.q[item.question]),
      item.question !== "en" && seed.q.en ? make("p", { class: "muted", lang: "en", dir: "ltr" }, seed.q.en) : null,
      answersTable(item),
      marked(seed, item.context, found),
      seedMatrix(item),
      make("h3", {}, `The same question in ${nameOf(item.question)} over every text`),
      sideBySide(item),
      make("p", { class: "note" }, "id ", make("code", {}, seed.id)),
    ];
    target.replaceChildren(...parts.filter((part) => part != null));
  }

  /** The address of what is shown, so that it can be sent, reloaded and come back to. */
  function remember(how = "replaceState") {
    const { group, run, question, context } = state, shown = new URLSearchParams({ group, run, question, context });
    if (state.row >= 0) {
      const item = row(state.row);
      shown.set("example", item.seed.id);
      shown.set("asked", `${item.question} ${item.context}`);
    }
    try { history[how](null, "", `#${shown}`); } catch { /* some viewers of files refuse it */ }
  }
  function restore() {
    const shown = new URLSearchParams(location.hash.slice(1));
    if (!shown.has("group") || !usable.includes(+shown.get("group"))) return;
    const { languages, runs } = data.examples[+shown.get("group")], known = (code) => (languages.includes(code) ? code : "");
    const run = +shown.get("run") in runs ? +shown.get("run") : 0;
    open(+shown.get("group"), { run, question: known(shown.get("question")), context: known(shown.get("context")), outcome: "" });
    const wanted = state.rows.find((index) => {
      const item = row(index);
      return item.seed.id === shown.get("example") && `${item.question} ${item.context}` === shown.get("asked");
    });
    if (wanted != null) show(wanted);
    goToExamples();
  }
  addEventListener("popstate", restore);
  function choose(index) {
    show(index);
    remember();
  }
  function show(index) {
    // What is clicked is drawn anew: the focus goes to its successor.
    const focused = document.activeElement?.dataset.focus;
    state.row = index;
    if (state.rows.indexOf(index) >= state.shown) state.shown = state.rows.indexOf(index) + PAGE;
    drawList();
    drawDetail();
    const list = byId("example-list"), current = list.querySelector("[aria-current=true]");
    if (current && (current.offsetTop < list.scrollTop || current.offsetTop + current.offsetHeight > list.scrollTop + list.clientHeight)) {
      list.scrollTop = current.offsetTop - list.clientHeight / 2;
    }
    if (focused) home.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
  function refresh() { filter(); drawList(); drawDetail(); }
  function open(group, changes) {
    Object.assign(state, { group, row: -1, search: "" }, changes);
    fields.search.value = "";
    fillFields();
    refresh();
  }
  for (const name of ["question", "context", "outcome"]) fields[name].addEventListener("change", () => { state[name] = fields[name].value; refresh(); remember(); });
  fields.run?.addEventListener("change", () => { state.run = +fields.run.value; refresh(); remember(); });
  fields.group?.addEventListener("change", () => { open(+fields.group.value, { run: 0, question: "", context: "", outcome: "" }); remember(); });
  let waiting;
  fields.search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.search = fields.search.value; refresh(); }, 150);
  });
  open(state.group, {});
  restore();
})();
