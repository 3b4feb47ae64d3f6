/**
 * The client for Node.js, which speaks gRPC over HTTP/2.
 *
 * @packageDocumentation
 */

import type { ClientSessionOptions, SecureClientSessionOptions } from "node:http2";
import type { Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { baseUrlOf } from "./base_url.js";
import { QueryClient } from "./client.js";
import type { ClientOptions } from "./connection.js";

export * from "./index.js";

/** The options of a client for Node.js. */
export interface NodeClientOptions extends ClientOptions {
  /** The address of the service or of a proxy: `http://host:port`, or `https://host:port` for TLS. */
  readonly baseUrl: string;
  /** TLS options of Node.js: `ca`, `cert`, `key` and others of `http2.connect`. */
  readonly nodeOptions?: ClientSessionOptions | SecureClientSessionOptions | undefined;
}

// A connection that was not used for a minute is tested before the next call: proxies drop idle ones
// silently. Streams test theirs as often.
const PINGS = { pingIntervalMs: 60_000, pingTimeoutMs: 10_000 };

const nameClient: Interceptor = (next) => (request) => {
  request.header.set("user-agent", "dynamodb-processor-client-typescript");
  return next(request);
};

/**
 * Returns a client with one HTTP/2 connection, which opens with the first call.
 *
 * An idle connection does not keep the process from ending; `close` ends it at once.
 *
 * @throws TypeError or RangeError for a wrong option.
 */
export function createQueryClient({ baseUrl, nodeOptions, ...options }: NodeClientOptions): QueryClient {
  const url = baseUrlOf(baseUrl);
  const sessionManager = new Http2SessionManager(url, PINGS, nodeOptions);
  const transport = createGrpcTransport({ baseUrl: url, sessionManager, interceptors: [nameClient] });
  return new QueryClient(transport, options, () => sessionManager.abort());
}
