/** Streams of items, across pages. */

import type { PageStats, Total } from "./pages.js";
import type { PageStream } from "./streams.js";
import type { Item } from "./values.js";

/** An async iterator over the items of a result, across its pages. */
export class ItemStream<T = Item> implements AsyncIterableIterator<T> {
  readonly #pages: PageStream<T>;
  readonly #generator: AsyncGenerator<T, undefined>;
  #left = 0;
  #beforePage: string;

  /** Iterates over the items of `pages`; `QueryClient.stream` is the public way. */
  constructor(pages: PageStream<T>) {
    this.#pages = pages;
    this.#beforePage = pages.resumeToken;
    this.#generator = this.#items();
  }

  /**
   * The token to continue after the iteration; `""` when all items were delivered.
   *
   * In the middle of a page it is the token of that page, whose first items would come again.
   */
  get resumeToken(): string {
    return this.#left > 0 ? this.#beforePage : this.#pages.resumeToken;
  }

  /** For `notBeforeToken` of later calls, as that of `PageStream`. */
  get freshnessToken(): string {
    return this.#pages.freshnessToken;
  }

  /** The cost of the stream so far, over all its calls. */
  get stats(): PageStats {
    return this.#pages.stats;
  }

  /** The number of matching items; `null` before the first item, or if not requested. */
  get total(): Total | null {
    return this.#pages.total;
  }

  /** The number of breaks after which the stream has continued. */
  get resumptions(): number {
    return this.#pages.resumptions;
  }

  /** Returns the next item. */
  next(): Promise<IteratorResult<T, undefined>> {
    return this.#generator.next();
  }

  /** Ends the stream; the service stops reading for it. */
  async return(): Promise<IteratorResult<T, undefined>> {
    await this.#pages.return();
    return this.#generator.return(undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async *#items(): AsyncGenerator<T, undefined> {
    for (;;) {
      this.#beforePage = this.#pages.resumeToken;
      const { done, value } = await this.#pages.next();
      if (done === true) return undefined;
      this.#left = value.items.length;
      for (const item of value.items) {
        this.#left -= 1;
        yield item;
      }
    }
  }
}
