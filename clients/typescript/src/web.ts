/**
 * The client for browsers, which speaks gRPC-Web through a gateway.
 *
 * @packageDocumentation
 */

import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { baseUrlOf } from "./base_url.js";
import { QueryClient } from "./client.js";
import type { ClientOptions } from "./connection.js";

export * from "./index.js";

/** The options of a client for browsers. */
export interface WebClientOptions extends ClientOptions {
  /** The address of the gateway: `https://host:port`. */
  readonly baseUrl: string;
}

/**
 * Returns a client that sends its calls with `fetch`.
 *
 * @throws TypeError or RangeError for a wrong option.
 */
export function createQueryClient({ baseUrl, ...options }: WebClientOptions): QueryClient {
  return new QueryClient(createGrpcWebTransport({ baseUrl: baseUrlOf(baseUrl) }), options);
}
