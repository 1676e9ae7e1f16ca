// The server: its state, its answers, and patience with both.

const TRIES = 5;
const STAGES = {
  starting: "Starting",
  libraries: "Loading libraries",
  model: "Loading the model",
  "warm-up": "Trying the model",
};

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
  }
}

async function send(path, options = {}, key = "") {
  if (/[^\x20-\x7e]/.test(key)) {
    throw new Refused(401, { code: "unauthorized", message: "The key holds a character that no key has; copy it anew." });
  }
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    return await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it still running?");
  }
}

/** What was answered; null where that is no JSON, as a page of a proxy is not. */
async function read(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}

function refusal(response, body) {
  const unknown = { code: "unknown", message: `The server said ${response.status}, and nothing that can be read.` };
  return new Refused(response.status, body?.error?.message ? body.error : unknown);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    }, { once: true });
  });
}

/** Waits until the model is loaded; `tell` gets a sentence and how far it is, between 0 and 1. */
export async function untilReady(tell, signal) {
  for (;;) {
    const response = await send("health/ready", { signal });
    const state = await read(response);
    if (response.ok) return;
    if (!state?.status) throw refusal(response, state);
    if (state.status === "failed") throw new Error("The model could not be loaded; the server's log says why.");
    const seconds = Math.round(state.seconds ?? 0);
    tell(`${STAGES[state.stage] ?? "Loading"}… ${seconds} s`, (state.step ?? 0) / (state.steps || 1));
    await pause(0.5, signal);
  }
}

/** The model's facts; throws `Refused` with status 401 where a key is needed. */
export async function describe(key) {
  const response = await send("v1/models", {}, key);
  const body = await read(response);
  if (!response.ok || !body?.models) throw refusal(response, body);
  return body.models[0];
}

/** One answer. Waits while the model loads, and a few times when the server is busy. */
export async function answer(request, key, tell, signal) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request), signal };
  for (let attempt = 1; ; attempt += 1) {
    const response = await send("v1/answers", options, key);
    const body = await read(response);
    if (response.ok && Array.isArray(body?.answers)) return body;
    const refused = refusal(response, body);
    if (refused.code === "loading") {
      await untilReady(tell, signal);
      tell("Reading the text…");
    } else if (refused.code === "overloaded" && attempt < TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      tell(`Many are asking; trying again in ${seconds} s…`);
      await pause(seconds, signal);
    } else {
      throw refused;
    }
  }
}

/** The same request for a shell; the body is a here-document, as one argument may hold no more than 128 KB. */
export function asCurl(request, needsKey) {
  const words = [
    `curl '${new URL("v1/answers", location.href).href.replaceAll("'", "'\\''")}'`,
    "-H 'Content-Type: application/json'",
    ...(needsKey ? ['-H "Authorization: Bearer $POLYSPAN_API_KEY"'] : []),
    "--data-binary @- <<'END'",
  ];
  // JSON escapes line feeds, so this is one line, and none that could be taken for the end.
  return `${words.join(" \\\n  ")}\n${JSON.stringify(request)}\nEND\n`;
}
