/** The line that says how far a query is and what it has cost. */

import { round } from "./charts.js";
import { fill, h } from "./dom.js";
import { ROWS_PER_PART, type Phase, type Run } from "./run.js";

const SPOKEN_EVERY_MS = 10_000;

/** The live line. Screen readers get it at its changes of state, and every ten seconds. */
export class StatusLine {
  readonly element: HTMLElement;
  readonly #facts = h("dl", { class: "facts-line" });
  readonly #state = h("span", { class: "state", "data-phase": "idle" }, "Ready");
  readonly #spoken = h("p", { class: "unseen", role: "status" });
  #spokenPhase: Phase | null = null;
  #spokenAt = 0;

  constructor() {
    this.element = h("div", { class: "status-line" }, this.#state, this.#facts, this.#spoken);
  }

  /** Shows that there is no run. */
  clear(): void {
    this.#state.textContent = "Ready";
    this.#state.dataset["phase"] = "idle";
    fill(this.#facts);
  }

  /** Shows the state of a run. */
  show(run: Run): void {
    const text = stateOf(run);
    this.#state.textContent = text;
    this.#state.dataset["phase"] = run.phase;
    const facts: [string, string, string][] = [
      ["items", "Items", run.rows.length.toLocaleString("en")],
      ["pages", "Pages", run.pages.length.toLocaleString("en")],
      ["units", "Read units", round(run.readUnits)],
      ["cache", "Cache", cacheOf(run)],
      ["read", "Read from", run.pages.length === 0 ? "–" : run.indexUsed || "table"],
      ["time", "Time", `${(run.elapsedMs / 1_000).toFixed(1)} s`],
    ];
    if (run.resumptions > 0) facts.push(["resumed", "Resumed", `${run.resumptions} ×`]);
    fill(this.#facts, ...facts.map(([id, name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", { id: `fact-${id}` }, value))));
    this.#speak(run, text);
  }

  #speak(run: Run, state: string): void {
    const now = performance.now();
    if (run.phase === this.#spokenPhase && now - this.#spokenAt < SPOKEN_EVERY_MS) return;
    this.#spokenPhase = run.phase;
    this.#spokenAt = now;
    this.#spoken.textContent = `${state}: ${run.rows.length} items, ${round(run.readUnits)} read units`;
  }
}

function stateOf(run: Run): string {
  switch (run.phase) {
    case "running":
      return "Reading";
    case "complete":
      return "Complete";
    case "stopped":
      return "Stopped";
    case "paused":
      return `Paused after ${ROWS_PER_PART.toLocaleString("en")} items`;
    case "limited":
      return "Ended by the limit of read units";
    case "failed":
      return run.pages.length > 0 ? "Cut off" : "Failed";
  }
}

/** Returns how many pages came from where: `hit 3, miss 1`. */
function cacheOf(run: Run): string {
  const counts = new Map<string, number>();
  for (const { cache } of run.pages) counts.set(cache, (counts.get(cache) ?? 0) + 1);
  const [first] = counts.keys();
  if (first === undefined) return "–";
  if (counts.size === 1) return nameOf(first);
  return [...counts].map(([name, count]) => `${nameOf(name)} ${count}`).join(", ");
}

function nameOf(status: string): string {
  return status === "UNKNOWN" ? "withheld" : status.toLowerCase().replaceAll("_", " ");
}
