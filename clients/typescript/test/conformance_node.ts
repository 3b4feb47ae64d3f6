/**
 * Runs the conformance kit on Node.js: `conformance_node.js KIT BASE_URL grpc|grpc-web`.
 *
 * KIT is a file with the cases and the server's callers and tokens. Prints the report as JSON.
 */

import { readFileSync } from "node:fs";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import * as node from "../src/node.js";
import * as web from "../src/web.js";
import { runKit, type Case, type KitServer } from "./conformance.js";

const [file, baseUrl, protocol] = process.argv.slice(2) as [string, string, string];
const { cases, server } = JSON.parse(readFileSync(file, "utf8")) as { cases: Case[]; server: KitServer };
const isWeb = protocol === "grpc-web";
const report = await runKit(cases, server, {
  transport: isWeb ? createGrpcWebTransport({ baseUrl }) : createGrpcTransport({ baseUrl }),
  client: (options) => (isWeb ? web : node).createQueryClient({ baseUrl, ...options }),
});
console.log(JSON.stringify(report));
