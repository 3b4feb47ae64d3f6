/** The servers that pytest started for these tests, and clients of them. */

import { createServer, connect, type AddressInfo, type Socket } from "node:net";
import { createQueryClient, type NodeClientOptions, type QueryClient } from "../src/node.js";

interface Targets {
  /** The address of the real server, and a key that may read everything. */
  readonly real: string;
  readonly apiKey: string;
  /** The addresses of fakes that break the contract, by name. */
  readonly fakes: Record<string, string>;
  /** The address of a fake with TLS, its authority, and a certificate that it accepts. */
  readonly secure: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export const targets = JSON.parse(process.env["TARGETS"]!) as Targets;

/** Clients of the tests of this process, which ends when they are closed. */
export const opened: QueryClient[] = [];

/** Returns a client of the real server. */
export function real(options: Partial<NodeClientOptions> = {}): QueryClient {
  return open({ baseUrl: `http://${targets.real}`, apiKey: targets.apiKey, ...options });
}

/** Returns a client of a fake, and the milliseconds that it would have waited. */
export function fake(name: string, options: Partial<NodeClientOptions> = {}): [QueryClient, number[]] {
  const waits: number[] = [];
  const sleep = (milliseconds: number) => {
    waits.push(milliseconds);
    return Promise.resolve();
  };
  const resume = { sleep, random: () => 0.5 };
  return [open({ baseUrl: `http://${targets.fakes[name]}`, resume, ...options }), waits];
}

function open(options: NodeClientOptions): QueryClient {
  const client = createQueryClient(options);
  opened.push(client);
  return client;
}

/** A proxy that cuts each connection after a number of bytes of its server. */
export async function cutting(bytes: number): Promise<{ baseUrl: string; cuts: () => number; close: () => void }> {
  const [host, port] = targets.real.split(":") as [string, string];
  const sockets = new Set<Socket>();
  let cuts = 0;
  const proxy = createServer((client) => {
    const server = connect(Number(port), host);
    let left = bytes;
    const end = () => [client, server].forEach((socket) => socket.destroy());
    server.on("data", (data) => {
      left -= data.length;
      if (left > 0) return void client.write(data);
      cuts += 1;
      client.write(data.subarray(0, data.length + left), end);
    });
    client.on("data", (data) => server.write(data));
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", end).on("close", end);
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const close = () => {
    proxy.close();
    for (const socket of sockets) socket.destroy();
  };
  return { baseUrl: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, cuts: () => cuts, close };
}
