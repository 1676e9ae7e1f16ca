// The page: what is typed, what is shown.

import { Refused, answer, asCurl, describe, untilReady } from "./api.js";
import { countCharacters, cut, directionOf, languageOf, locate, percent, readFile, wellFormed } from "./text.js";

const at = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const UNSURE = 0.5; // "no answer" is the likelier from here on
const LONG_WAIT = 250; // milliseconds, so that quick answers do not flicker

let limits = null;
let needsKey = false;
let working = null; // AbortController of what is being asked
let shown = null; // what is asked and answered
let dragging = false; // something of this page
const known = new Map(); // language of a text that came from the examples
const visit = [];

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

const language = (text) => known.get(text) ?? languageOf(text);
const foreign = (name, text, around, properties = {}) =>
  make(name, { lang: language(around), dir: directionOf(text, around), textContent: text, ...properties });

// ---- the text

function editText() {
  at.passage.hidden = true;
  at.context.hidden = false;
  at.edit.hidden = true;
}

function setText(text) {
  at.context.value = text;
  textChanged();
  editText();
}

function textChanged() {
  const count = countCharacters(at.context.value);
  const over = limits && count > limits.characters;
  at.count.textContent = count ? `${count.toLocaleString("en")} characters${over ? `; this server takes ${limits.characters.toLocaleString("en")}` : ""}` : "";
  at.count.classList.toggle("over", Boolean(over));
  at.context.lang = language(at.context.value);
  if (shown && shown.request.context !== wellFormed(at.context.value)) clearFound();
}

async function takeFile(file) {
  hideProblem();
  try {
    setText(await readFile(file, limits?.body_bytes ?? 2_000_000));
    at.question.focus();
  } catch (error) {
    showProblem(error.message);
  }
}

// ---- asking

function showProblem(message) {
  at.problem.textContent = message;
  at.problem.hidden = false;
}

function hideProblem() {
  at.problem.hidden = true;
}

function tell(sentence, share) {
  at["work-text"].textContent = sentence;
  if (share === undefined) at["work-bar"].removeAttribute("value");
  else at["work-bar"].value = share;
}

function setWorking(controller) {
  working = controller;
  at.ask.textContent = controller ? "Stop" : "Ask";
  at.work.hidden = true;
}

async function ask() {
  if (working) {
    working.abort();
    return;
  }
  hideProblem();
  const request = {
    question: wellFormed(at.question.value).trim(),
    context: wellFormed(at.context.value),
    top_k: Number(at["top-k"].value),
  };
  for (const [field, sentence] of [["question", "Write a question first."], ["context", "Paste a text first, or choose an example."]]) {
    if (!request[field].trim()) {
      if (field === "context") editText();
      showProblem(sentence);
      at[field].focus();
      return;
    }
  }
  const controller = new AbortController();
  setWorking(controller);
  clearFound();
  tell("Reading the text…");
  const appear = setTimeout(() => {
    at.work.hidden = false;
    at.spoken.textContent = at["work-text"].textContent;
  }, LONG_WAIT);
  try {
    const reply = await answer(request, at.key.value, tell, controller.signal);
    if (at.model.dataset.state === "failed") meet(); // it was away when the page came
    const entry = { request, reply };
    visit.unshift(entry);
    showHistory();
    const same = wellFormed(at.question.value).trim() === request.question && wellFormed(at.context.value) === request.context;
    if (same) show(entry);
    else at.spoken.textContent = "The answers to what was asked before are under “Asked in this visit”.";
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error.message);
    if (error instanceof Refused && error.status === 401) showKey();
  } finally {
    clearTimeout(appear);
    setWorking(null);
  }
}

function showKey() {
  needsKey = true;
  at["key-label"].hidden = false;
  at.key.focus();
}

// ---- answers

function clearFound() {
  shown = null;
  at.answers.replaceChildren();
  at.none.hidden = true;
  at.copies.hidden = true;
  at.empty.hidden = false;
  at.spoken.textContent = "";
  editText();
}

function show(entry) {
  shown = entry;
  const { request, reply } = entry;
  at.context.value = request.context;
  textChanged();
  const located = locate(request.context, reply.answers);
  const unsure = !located.length || reply.no_answer > UNSURE;
  showNone(reply, unsure, located.length);
  at.answers.replaceChildren(...located.map((found, rank) => answerItem(found, rank, unsure)));
  at.empty.hidden = true;
  at.copies.hidden = false;
  showPassage(request.context, located, unsure);
  if (located.length) select(0, !unsure);
  speak(reply, unsure);
}

function showNone(reply, unsure, some) {
  at.none.hidden = !unsure;
  at.none.replaceChildren(
    make("strong", { textContent: "Probably no answer in this text" }),
    make("span", { className: "muted", textContent: ` ${percent(reply.no_answer)} sure.${some ? " If there is one, it may be:" : ""}` }),
  );
}

function answerItem(found, rank, unsure) {
  const bar = make("span", { className: "bar" });
  bar.style.setProperty("--score", found.score);
  const button = make(
    "button",
    { type: "button", className: "answer" },
    make("span", { className: "rank", textContent: rank + 1 }),
    foreign("span", found.answer, shown.request.context, { className: "words" }),
    make("span", { className: "score" }, bar, make("span", { className: "percent", textContent: percent(found.score) })),
    make("span", { className: "hidden-text", textContent: `, characters ${found.start} to ${found.end}; show in the text` }),
  );
  button.addEventListener("click", () => select(rank, true));
  return make("li", { className: unsure ? "unsure" : "" }, button);
}

function showPassage(text, located, unsure) {
  const pieces = cut(text, located).map((piece) => {
    if (!piece.ranks.length) return piece.text;
    const mark = make("mark", { textContent: piece.text });
    mark.dataset.ranks = piece.ranks.join(" ");
    if (piece.ending.length) mark.dataset.ending = piece.ending.join(" ");
    return mark;
  });
  at.passage.replaceChildren(...pieces);
  at.passage.lang = language(text);
  at.passage.classList.toggle("unsure", unsure);
  at.passage.hidden = false;
  if (document.activeElement === at.context) at.passage.focus({ preventScroll: true });
  at.context.hidden = true;
  at.edit.hidden = false;
}

function select(rank, scroll) {
  const located = shown.reply.answers;
  at.answers.querySelectorAll("button").forEach((button, index) => {
    if (index === rank) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  let first = null;
  for (const mark of at.passage.querySelectorAll("mark")) {
    const chosen = mark.dataset.ranks.split(" ").includes(String(rank));
    mark.classList.toggle("chosen", chosen);
    if (chosen) first ??= mark;
    const ending = mark.dataset.ending?.split(" ").map(Number) ?? [];
    const tag = ending.includes(rank) ? rank : chosen ? undefined : ending[0];
    if (tag === undefined) delete mark.dataset.tag;
    else mark.dataset.tag = tag === rank ? `${tag + 1} · ${percent(located[tag].score)}` : tag + 1;
  }
  if (first) bringIntoView(first, scroll);
}

function bringIntoView(mark, page) {
  const smooth = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  const box = at.passage.getBoundingClientRect();
  const spot = mark.getBoundingClientRect();
  at.passage.scrollTo({ top: at.passage.scrollTop + spot.top - box.top - (box.height - Math.min(spot.height, box.height)) / 2, behavior: smooth });
  const seen = Math.min(box.bottom, innerHeight) - Math.max(box.top, 0);
  if (page && seen < Math.min(box.height, innerHeight) * 0.8) at["text-panel"].scrollIntoView({ block: "start", behavior: smooth });
}

function speak(reply, unsure) {
  const best = reply.answers[0];
  const count = reply.answers.length;
  at.spoken.textContent = unsure
    ? `Probably no answer in this text, ${percent(reply.no_answer)} sure.`
    : `${count} ${count === 1 ? "answer" : "answers"}. The best, ${percent(best.score)}: ${best.answer}`;
}

// ---- this visit, copies, examples

function showHistory() {
  at["history-panel"].hidden = !visit.length;
  at.history.replaceChildren(
    ...visit.map((entry) => {
      const { request, reply } = entry;
      const none = !reply.answers.length || reply.no_answer > UNSURE;
      const button = make(
        "button",
        { type: "button" },
        foreign("span", request.question, request.question, { className: "asked" }),
        none
          ? make("span", { className: "muted", textContent: "no answer" })
          : foreign("span", reply.answers[0].answer, request.context),
      );
      button.addEventListener("click", () => {
        working?.abort();
        at.question.value = request.question;
        at.question.lang = language(request.question);
        hideProblem();
        show(entry);
      });
      return make("li", {}, button);
    }),
  );
}

async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers keep the clipboard from pages that come neither over https nor from this machine.
    const field = make("textarea", { value: text, className: "hidden-text" });
    document.body.append(field);
    field.select();
    done = document.execCommand("copy");
    field.remove();
    button.focus();
  }
  button.dataset.name ??= button.textContent; // it may say "Copied" still
  button.textContent = done ? "Copied" : "Could not copy";
  at.spoken.textContent = button.textContent;
  setTimeout(() => { button.textContent = button.dataset.name; }, 1500);
}

function exampleItem(example) {
  const { question, context, question_language: asked, context_language: read } = example;
  known.set(question, asked);
  known.set(context, read);
  const name = (code, own) => make("span", { lang: code, dir: "auto", textContent: own });
  const label = example.answerable
    ? asked === read
      ? [name(asked, example.question_language_name)]
      : [name(asked, example.question_language_name), make("span", { textContent: " → ", ariaLabel: " about a text in ", role: "img" }), name(read, example.context_language_name)]
    : ["No answer"];
  const button = make("button", { type: "button" }, ...label);
  button.title = question;
  button.addEventListener("click", () => {
    working?.abort();
    at.question.value = question;
    at.question.lang = asked;
    setText(context);
    setTimeout(ask); // after a stopped one has ended
  });
  return make("li", {}, button);
}

// ---- beginning

at.form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
at.question.addEventListener("keydown", (event) => {
  // In Safari, the Enter that takes an input method's word has keyCode 229 and comes after the composing.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
    event.preventDefault();
    if (!working) ask();
  }
});
at.context.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !working) ask();
});
at.question.addEventListener("input", () => { at.question.lang = language(at.question.value); });
at.context.addEventListener("input", textChanged);
at.edit.addEventListener("click", () => {
  editText();
  at.context.focus();
});
at.clear.addEventListener("click", () => {
  clearFound();
  setText("");
  at.context.focus();
});
at.open.addEventListener("click", () => at.file.click());
at.file.addEventListener("change", () => {
  if (at.file.files[0]) takeFile(at.file.files[0]);
  at.file.value = "";
});
at["copy-json"].addEventListener("click", () => copy(JSON.stringify({ question: shown.request.question, ...shown.reply }, null, 2), at["copy-json"]));
at["copy-curl"].addEventListener("click", () => copy(asCurl(shown.request, needsKey), at["copy-curl"]));
at.forget.addEventListener("click", () => {
  visit.length = 0;
  showHistory();
  at.question.focus();
});

// Words that are moved within the page are no text to be read.
document.addEventListener("dragstart", () => { dragging = true; });
document.addEventListener("dragend", () => { dragging = false; });
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    if (dragging || ![...event.dataTransfer.types].some((type) => type === "Files" || type === "text/plain")) return;
    event.preventDefault();
    at["text-panel"].classList.add("dropping");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at["text-panel"].classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  at["text-panel"].classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  const text = event.dataTransfer.getData("text/plain");
  if (dragging || (!file && (!text || event.target === at.question))) return;
  event.preventDefault();
  if (file) takeFile(file);
  else setText(text);
});

async function begin() {
  try {
    const examples = await (await fetch("page/examples.json")).json();
    at.examples.replaceChildren(...examples.map(exampleItem));
  } catch {
    at.examples.closest("nav").hidden = true;
  }
}

async function meet() {
  try {
    const facts = await describe(at.key.value);
    limits = facts.limits;
    const counts = [...at["top-k"].options];
    for (const option of counts) option.disabled = Number(option.value) > limits.top_k;
    if (at["top-k"].selectedOptions[0]?.disabled) at["top-k"].value = counts.findLast((option) => !option.disabled).value;
    await untilReady((sentence) => { at.model.textContent = sentence; });
    at.model.textContent = facts.name;
    at.model.title = facts.name; // a long one is cut
    at.model.dataset.state = "ready";
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      at.model.textContent = at.key.value ? "The key is wrong" : "Asks for a key";
      showKey();
    } else {
      at.model.textContent = "Not reachable";
      at.model.title = error.message;
    }
    at.model.dataset.state = "failed";
  }
}

at.key.addEventListener("change", () => {
  hideProblem();
  meet();
});
begin();
meet();
