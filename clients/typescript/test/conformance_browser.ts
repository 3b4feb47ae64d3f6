/**
 * Runs the conformance kit in a browser, through a gateway.
 *
 * `kit.json` beside the page has the cases, the server's callers and tokens, and the gateway's address.
 * The report is sent to `report`.
 */

import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { createQueryClient } from "../src/web.js";
import { runKit, type Case, type KitServer } from "./conformance.js";

interface Kit {
  cases: Case[];
  server: KitServer;
  baseUrl: string;
}

const { cases, server, baseUrl } = (await (await fetch("kit.json")).json()) as Kit;
const report = await runKit(cases, server, {
  transport: createGrpcWebTransport({ baseUrl }),
  client: (options) => createQueryClient({ baseUrl, ...options }),
});
await fetch("report", { method: "POST", body: JSON.stringify(report) });
