/** The console: it connects with the user's key, and shows the workspace. */

import { createQueryClient, number, QueryError } from "dynamodb-processor-client/web";
import { loadConfig, type Config } from "./config.js";
import { button, fill, h } from "./dom.js";
import { KeyForm } from "./key_form.js";
import { themeButton } from "./theme.js";
import { Workspace } from "./workspace.js";

const STREAM_TIMEOUT_MS = 15 * 60_000;

/** The page, which has a key or asks for one. */
class Page {
  readonly #config: Config;
  readonly #content: HTMLElement;
  readonly #forget: HTMLButtonElement;
  #workspace: Workspace | null = null;

  constructor(config: Config, content: HTMLElement, forget: HTMLButtonElement) {
    this.#config = config;
    this.#content = content;
    this.#forget = forget;
    forget.addEventListener("click", () => this.askForKey(""));
  }

  /** Forgets the key and everything that it has read, and asks for another. */
  askForKey(message: string): void {
    this.#workspace?.close();
    this.#workspace = null;
    this.#forget.hidden = true;
    const form = new KeyForm(this.#config.gateway, (key) => this.#connect(key, form));
    form.say(message);
    fill(this.#content, form.element);
    form.focus();
  }

  async #connect(key: string, form: KeyForm): Promise<void> {
    const client = createQueryClient({
      baseUrl: this.#config.gateway,
      apiKey: key,
      timeoutMs: STREAM_TIMEOUT_MS,
      numbers: number,
    });
    const workspace = new Workspace(client, this.#config, (message) => this.askForKey(`The key was refused: ${message}`));
    try {
      await workspace.open();
    } catch (error) {
      workspace.close();
      form.say(this.#reason(error));
      return;
    }
    this.#workspace = workspace;
    this.#forget.hidden = false;
    fill(this.#content, workspace.element);
  }

  #reason(error: unknown): string {
    if (!(error instanceof QueryError)) return (error as Error).message;
    if (error.code === "UNAUTHENTICATED") return `The key was refused: ${error.message}`;
    if (error.reason !== "CONNECTION_FAILED") return error.message;
    const { gateway } = this.#config;
    return `No connection to ${gateway}. Is the gateway running, and does it allow the origin ${location.origin}?`;
  }
}

async function start(): Promise<void> {
  const content = h("div", { class: "content" });
  const forget = button("Forget key", () => undefined, { class: "quiet", id: "forget", hidden: true });
  const header = h("header", { class: "top" },
    h("span", { class: "brand" }, h("img", { src: "icon.svg", alt: "", width: 24, height: 24 }), h("span", {}, "DynamoDB Processor"), h("span", { class: "product" }, "Console")),
    h("span", { class: "actions" }, themeButton(), forget));
  document.body.append(header, content);
  try {
    new Page(await loadConfig(), content, forget).askForKey("");
  } catch (error) {
    fill(content, h("main", { class: "key-form" }, h("h1", {}, "The console cannot start"), h("p", { class: "notice error" }, (error as Error).message)));
  }
}

void start();
