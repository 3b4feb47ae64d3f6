/** The form for the API key. The key goes to the client alone: no storage, no address, no cookie. */

import { button, h } from "./dom.js";

/** Asks for an API key. */
export class KeyForm {
  readonly element: HTMLElement;
  readonly #input: HTMLInputElement;
  readonly #button: HTMLButtonElement;
  readonly #message = h("p", { class: "notice error", role: "alert", hidden: true });
  readonly #onKey: (key: string) => Promise<void>;

  constructor(gateway: string, onKey: (key: string) => Promise<void>) {
    this.#onKey = onKey;
    this.#input = h("input", {
      id: "api-key",
      type: "password",
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": "key-note",
      onkeydown: (event: KeyboardEvent) => { if (event.key === "Enter") void this.#submit(); },
    });
    this.#button = button("Connect", () => void this.#submit(), { class: "primary", id: "connect" });
    this.element = h("main", { class: "key-form" },
      h("h1", {}, "Connect"),
      h("p", {}, "The console reads with your own API key, and can do what the key grants, nothing more."),
      h("label", { for: "api-key" }, "API key"),
      h("div", { class: "row" }, this.#input, this.#button),
      this.#message,
      h("p", { id: "key-note", class: "note" },
        "The key stays in the memory of this page, and is sent to ", h("code", {}, gateway), " alone. Reload the page to forget it."));
  }

  /** Shows why a key was refused; `""` for nothing. */
  say(message: string): void {
    this.#message.textContent = message;
    this.#message.hidden = message === "";
  }

  focus(): void {
    this.#input.focus();
  }

  async #submit(): Promise<void> {
    const key = this.#input.value.trim();
    if (key === "") {
      this.say("Enter a key: the operator of the service has one for you.");
      return;
    }
    if (!/^[\x21-\x7e]+$/.test(key)) {
      this.say("This is not a key: keys have letters, digits and signs, without spaces.");
      return;
    }
    this.say("");
    this.#button.disabled = true;
    this.#input.value = "";
    try {
      await this.#onKey(key);
    } finally {
      this.#button.disabled = false;
    }
  }
}
