// Texts in many scripts: offsets, what is marked where, and what language a text may be in.

const SURROGATE = /[\ud800-\udfff]/;
const PAIR = /[\ud800-\udbff][\udc00-\udfff]/g;

/** Number of code points, which is what the server counts. */
export function countCharacters(text) {
  return SURROGATE.test(text) ? text.length - (text.match(PAIR)?.length ?? 0) : text.length;
}

/** Halves of surrogate pairs replaced; no request can carry them. */
export function wellFormed(text) {
  return text.toWellFormed ? text.toWellFormed() : text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

/**
 * The server's offsets count code points, JavaScript's strings UTF-16 units: an emoji is one and two.
 * Returns the answers with `from` and `to` as indices into the string.
 */
export function locate(text, answers) {
  if (!SURROGATE.test(text)) return answers.map((answer) => ({ ...answer, from: answer.start, to: answer.end }));
  const wanted = [...new Set(answers.flatMap((answer) => [answer.start, answer.end]))].sort((a, b) => a - b);
  const units = new Map();
  let points = 0, at = 0;
  for (const offset of wanted) {
    for (; points < offset && at < text.length; points += 1) at += text.codePointAt(at) > 0xffff ? 2 : 1;
    units.set(offset, at);
  }
  return answers.map((answer) => ({ ...answer, from: units.get(answer.start), to: units.get(answer.end) }));
}

/**
 * Answers may overlap, so the text is cut at every edge of one.
 * Returns pieces: the text, the ranks of the answers that hold it, and of those that end with it.
 */
export function cut(text, located) {
  const edges = [...new Set([0, text.length, ...located.flatMap((answer) => [answer.from, answer.to])])].sort((a, b) => a - b);
  return edges.slice(0, -1).map((from, at) => {
    const to = edges[at + 1];
    const ranks = located.flatMap((answer, rank) => (answer.from <= from && to <= answer.to ? [rank] : []));
    return { text: text.slice(from, to), ranks, ending: ranks.filter((rank) => located[rank].to === to) };
  });
}

const SCRIPTS = [
  ["ja", /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/gu],
  ["ko", /\p{Script=Hangul}/gu],
  ["th", /\p{Script=Thai}/gu],
  ["he", /\p{Script=Hebrew}/gu],
  ["el", /\p{Script=Greek}/gu],
];
const KANA = /[\p{Script=Hiragana}\p{Script=Katakana}]/u;

/**
 * The language where the script of most letters tells it, else "": it chooses the shapes of characters
 * and a reader's voice, and a foreign word or a formula in a text is to change neither.
 */
export function languageOf(text) {
  const letters = (text.slice(0, 1000).match(/\p{L}/gu) ?? []).join("");
  const count = (script) => letters.match(script)?.length ?? 0;
  const found = SCRIPTS.find(([, script]) => 2 * count(script) > [...letters].length)?.[0] ?? "";
  return found === "ja" && !KANA.test(letters) ? "zh" : found;
}

const RIGHT_TO_LEFT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u;

/** "rtl" or "ltr" by the first letter, as the Unicode algorithm has it; a text without letters goes with `around`. */
export function directionOf(text, around = "") {
  const letter = text.match(/\p{L}/u)?.[0] ?? around.match(/\p{L}/u)?.[0] ?? "";
  return RIGHT_TO_LEFT.test(letter) ? "rtl" : "ltr";
}

/** A probability as people read it. */
export function percent(probability) {
  const value = probability * 100;
  if (value > 0 && value < 1) return "< 1%";
  if (value > 99 && value < 100) return "> 99%";
  return `${Math.round(value)}%`;
}

/** The text of a file; throws an Error with a sentence for people. */
export async function readFile(file, mostBytes) {
  if (file.size > mostBytes) throw new Error(`${file.name} has ${file.size.toLocaleString()} bytes; this server takes ${mostBytes.toLocaleString()}.`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8";
  let text;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${file.name} is not a text in UTF-8. Save it as UTF-8, or copy and paste the text.`);
  }
  if (text.includes("\0")) throw new Error(`${file.name} is not a text file.`);
  return text;
}
