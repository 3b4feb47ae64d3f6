/** Plots of the read units and the latency of each page, as SVG, with a table of the same numbers. */

import { fill, h, oncePerFrame, svg } from "./dom.js";
import type { PageRecord } from "./run.js";

const HEIGHT = 150;
const LEFT = 52;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 26;
const MAX_POINTS = 120;
const MAX_STEP = 64; // Pixels between pages.
const MAX_BAR = 36;
const MAX_TABLE_ROWS = 500;

/** A number of pages that follow one another, drawn as one. */
interface Point {
  readonly first: number;
  readonly last: number;
  readonly readUnits: number;
  readonly latencyMs: number;
  readonly backendMs: number;
}

/** The plots of one run. */
export class Charts {
  readonly element: HTMLElement;
  readonly #units = h("div", { class: "chart" });
  readonly #latency = h("div", { class: "chart" });
  readonly #body = h("tbody");
  readonly #note = h("p", { class: "note" });
  readonly #draw = oncePerFrame(() => this.#drawNow());
  #pages: readonly PageRecord[] = [];

  constructor() {
    const heads = ["Page", "Items", "Read units", "Latency, ms", "DynamoDB, ms", "Cache", "End"];
    const table = h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, name)))),
      this.#body);
    this.element = h("div", { class: "charts" },
      this.#note,
      h("h3", {}, "Read units per page"),
      this.#units,
      h("h3", {}, "Latency per page, in milliseconds"),
      h("p", { class: "legend" },
        h("span", { class: "swatch latency" }), "until the page arrived",
        h("span", { class: "swatch backend" }), "waiting for DynamoDB, for later pages too"),
      this.#latency,
      h("details", { ontoggle: () => this.#draw() },
        h("summary", {}, "All pages as a table"),
        h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Pages as a table" }, table)));
    new ResizeObserver(this.#draw).observe(this.#units);
  }

  /** Shows pages; call it again when they have grown. */
  show(pages: readonly PageRecord[]): void {
    this.#pages = pages;
    this.#draw();
  }

  #drawNow(): void {
    const width = this.#units.clientWidth;
    if (width === 0) return; // The tab is hidden.
    const points = pointsOf(this.#pages);
    const perPoint = points[0] === undefined ? 1 : points[0].last - points[0].first + 1;
    this.#note.textContent = noteOf(this.#pages, perPoint);
    fill(this.#units, this.#bars(points, width));
    fill(this.#latency, this.#lines(points, width));
    this.#fillTable();
  }

  #bars(points: readonly Point[], width: number): SVGElement {
    const frame = new Frame(points, width, Math.max(...points.map((point) => point.readUnits), 0));
    const wide = Math.max(0.5, Math.min(frame.step * 0.85, MAX_BAR));
    const bars = points.map((point, at) => {
      const y = frame.y(point.readUnits);
      const bar = svg("rect", {
        class: "bar",
        x: frame.x(at) - wide / 2,
        y,
        width: wide,
        height: HEIGHT - BOTTOM - y,
      });
      bar.append(svg("title", {}, `${pageName(point)}: ${round(point.readUnits)} read units`));
      return bar;
    });
    const sum = points.reduce((all, point) => all + point.readUnits, 0);
    return frame.draw(`Read units per page: ${round(sum)} in ${this.#pages.length} pages`, bars);
  }

  #lines(points: readonly Point[], width: number): SVGElement {
    const top = Math.max(...points.map((point) => Math.max(point.latencyMs, point.backendMs)), 0);
    const frame = new Frame(points, width, top);
    const line = (name: "latencyMs" | "backendMs", kind: string) =>
      svg("polyline", {
        class: `line ${kind}`,
        points: points.map((point, at) => `${frame.x(at)},${frame.y(point[name])}`).join(" "),
      });
    const dots = points.map((point, at) => {
      const dot = svg("circle", { class: "dot", cx: frame.x(at), cy: frame.y(point.latencyMs), r: frame.step > 8 ? 3 : 1.5 });
      dot.append(svg("title", {}, `${pageName(point)}: ${round(point.latencyMs)} ms; ${round(point.backendMs)} ms of waiting for DynamoDB`));
      return dot;
    });
    return frame.draw(`Latency per page, at most ${round(top)} ms`, [line("backendMs", "backend"), line("latencyMs", "latency"), ...dots]);
  }

  #fillTable(): void {
    if (this.#body.closest("details")?.open !== true) return;
    const from = Math.max(0, this.#pages.length - MAX_TABLE_ROWS);
    const rows = this.#pages.slice(from).map((page, at) => {
      const cells = [from + at + 1, page.items, round(page.readUnits), round(page.latencyMs), round(page.backendMs)];
      return h("tr", {},
        ...cells.map((one) => h("td", { class: "number" }, String(one))),
        h("td", {}, page.cache.toLowerCase().replaceAll("_", " ")),
        h("td", {}, page.end.toLowerCase().replaceAll("_", " ")));
    });
    fill(this.#body, ...rows);
  }
}

/** The axes of a plot. */
class Frame {
  readonly step: number;
  readonly #width: number;
  readonly #top: number;
  readonly #ticks: readonly number[];
  readonly #points: readonly Point[];

  constructor(points: readonly Point[], width: number, most: number) {
    this.#points = points;
    this.#width = width;
    this.#ticks = ticksOf(most);
    this.#top = this.#ticks.at(-1) ?? 1;
    this.step = Math.min((width - LEFT - RIGHT) / Math.max(points.length, 1), MAX_STEP);
  }

  x(at: number): number {
    return LEFT + (at + 0.5) * this.step;
  }

  y(value: number): number {
    return HEIGHT - BOTTOM - (value / this.#top) * (HEIGHT - TOP - BOTTOM);
  }

  draw(label: string, marks: readonly SVGElement[]): SVGElement {
    const lines = this.#ticks.flatMap((tick) => [
      svg("line", { class: "tick", x1: LEFT, x2: this.#width - RIGHT, y1: this.y(tick), y2: this.y(tick) }),
      svg("text", { class: "axis", x: LEFT - 6, y: this.y(tick) + 4, "text-anchor": "end" }, String(tick)),
    ]);
    const last = this.#points.length - 1;
    const ends = last < 0 ? [] : last === 0 ? [0] : [0, last];
    const pages = ends.map((at) =>
      svg("text", { class: "axis", x: this.x(at), y: HEIGHT - 8, "text-anchor": at === 0 ? "start" : "end" },
        at === 0 ? "page 1" : String(this.#points[at]?.last)));
    const size = { viewBox: `0 0 ${this.#width} ${HEIGHT}`, width: this.#width, height: HEIGHT };
    return svg("svg", { ...size, role: "img", "aria-label": label }, ...lines, ...pages, ...marks);
  }
}

function pointsOf(pages: readonly PageRecord[]): Point[] {
  const size = Math.max(1, Math.ceil(pages.length / MAX_POINTS));
  const points: Point[] = [];
  for (let at = 0; at < pages.length; at += size) {
    const group = pages.slice(at, at + size);
    points.push({
      first: at + 1,
      last: at + group.length,
      readUnits: group.reduce((sum, page) => sum + page.readUnits, 0),
      latencyMs: Math.max(...group.map((page) => page.latencyMs)),
      backendMs: Math.max(...group.map((page) => page.backendMs)),
    });
  }
  return points;
}

/** Returns round numbers from 0 to the first one that is not less than `most`. */
function ticksOf(most: number): number[] {
  if (most === 0) return [0, 1];
  const rough = most / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10);
  const count = Math.max(1, Math.ceil(most / step));
  return Array.from({ length: count + 1 }, (_, at) => Number((at * step).toPrecision(6)));
}

function pageName({ first, last }: Point): string {
  return first === last ? `Page ${first}` : `Pages ${first} to ${last}`;
}

function noteOf(pages: readonly PageRecord[], perPoint: number): string {
  if (pages.length === 0) return "Run a query to see the cost of its pages.";
  const isFree = pages.every(({ readUnits }) => readUnits === 0);
  if (perPoint === 1) return isFree ? "These pages cost no read units: they came from the cache, or the cost is withheld." : "";
  return `Each point stands for ${perPoint} pages: the sum of their read units, the longest of their latencies.`;
}

/** Returns a number with at most three digits behind the point, as text. */
export function round(value: number): string {
  return String(Number(value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)));
}
