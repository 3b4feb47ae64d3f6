/** A query as a command or a program. The API key is always a variable of the environment. */

import { requestJson, type Draft } from "./draft.js";
import type { Typed } from "./parameters.js";

/** The forms in which a query can be copied. */
export const SNIPPET_FORMS = ["grpcurl", "curl", "Python", "TypeScript"] as const;
export type SnippetForm = (typeof SNIPPET_FORMS)[number];

const MAX_LINE = 72;
// Characters that a terminal obeys, or that nobody sees when a command is pasted.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** Returns the query in a form; `gateway` is the address without a slash at its end. */
export function snippet(form: SnippetForm, draft: Draft, gateway: string): string {
  switch (form) {
    case "grpcurl":
      return grpcurl(draft, gateway);
    case "curl":
      return curl(draft, gateway);
    case "Python":
      return python(draft, gateway);
    case "TypeScript":
      return typescript(draft, gateway);
  }
}

function grpcurl(draft: Draft, gateway: string): string {
  const { host, isPlain } = addressOf(gateway);
  return [
    `grpcurl ${isPlain ? "-plaintext " : ""}-H "x-api-key: $DDBQ_API_KEY" \\`,
    // The gateway has no reflection: the contract is that of a clone.
    "  -import-path proto -proto dynamodb_processor/v1/query_service.proto \\",
    `  -d ${shell(json(requestJson(draft, true), 2))} \\`,
    `  ${shell(host)} dynamodb_processor.v1.QueryService/StreamQuery`,
  ].join("\n");
}

function curl(draft: Draft, gateway: string): string {
  return [
    `curl --no-buffer -H "x-api-key: $DDBQ_API_KEY" -H 'content-type: application/json' \\`,
    `  -d ${shell(json(requestJson(draft, false), 2))} \\`,
    `  ${shell(`${gateway}/v1/tables/${encodeURIComponent(draft.table)}:stream`)}`,
  ].join("\n");
}

function python(draft: Draft, gateway: string): string {
  const { host, isPlain } = addressOf(gateway);
  const values = draft.parameters.map(([, value]) => value);
  const needs = new Set(values.flatMap(kindsOf));
  const options = [
    [draft.parameters.length > 0, `parameters={${draft.parameters.map(([name, one]) => `${literal(name)}: ${pythonValue(one)}`).join(", ")}}`],
    [draft.index !== "", `index=${literal(draft.index)}`],
    [draft.isDescending, "descending=True"],
    [draft.projection.length > 0, `projection=[${draft.projection.map(literal).join(", ")}]`],
    [draft.isConsistent, "consistent=True"],
    [draft.maxItems !== null, `max_items=${draft.maxItems}`],
  ] as const;
  const query = [literal(draft.table), literal(draft.expression), ...options.filter(([is]) => is).map(([, text]) => text)];
  const stream = [
    draft.pageSize === 0 ? "" : `, page_size=${draft.pageSize}`,
    draft.cacheMode === "default" ? "" : `, cache=CachePolicy(CacheMode.${draft.cacheMode.replaceAll("-", "_").toUpperCase()})`,
    draft.maxReadUnits === null ? "" : `, budget=Budget(max_read_units=${draft.maxReadUnits})`,
  ].join("");
  const names = [
    ...(draft.maxReadUnits === null ? [] : ["Budget"]),
    ...(draft.cacheMode === "default" ? [] : ["CacheMode", "CachePolicy"]),
    "Query",
    "QueryClient",
    ...(isPlain ? [] : ["tls_credentials"]),
  ];
  return [
    "import asyncio",
    ...(needs.has("b") ? ["import base64"] : []),
    "import os",
    ...(needs.has("n") ? ["from decimal import Decimal"] : []),
    "",
    `from dynamodb_processor_client import ${names.join(", ")}`,
    "",
    "",
    "async def main() -> None:",
    `    query = Query(`,
    ...query.map((part) => `        ${part},`),
    "    )",
    `    async with QueryClient(${literal(host)}, api_key=os.environ["DDBQ_API_KEY"]${isPlain ? "" : ", credentials=tls_credentials()"}) as client:`,
    `        async for item in client.stream(query${stream}):`,
    "            print(item)",
    "",
    "",
    "asyncio.run(main())",
  ].join("\n");
}

function typescript(draft: Draft, gateway: string): string {
  const needs = new Set(draft.parameters.flatMap(([, value]) => kindsOf(value)));
  const names = ["createQueryClient", ...(needs.has("b") ? ["binary"] : []), ...(needs.has("n") ? ["number"] : [])];
  const parameters = draft.parameters.map(([name, one]) => `${literal(name)}: ${typescriptValue(one)}`);
  const query = [
    `table: ${literal(draft.table)}`,
    ...(draft.expression === "" ? [] : [`expression: ${literal(draft.expression)}`]),
    ...(parameters.length === 0 ? [] : [`parameters: { ${parameters.join(", ")} }`]),
    ...(draft.index === "" ? [] : [`index: ${literal(draft.index)}`]),
    ...(draft.isDescending ? ['order: "descending"'] : []),
    ...(draft.projection.length === 0 ? [] : [`projection: [${draft.projection.map(literal).join(", ")}]`]),
    ...(draft.isConsistent ? ["consistent: true"] : []),
    ...(draft.maxItems === null ? [] : [`maxItems: ${draft.maxItems}`]),
  ];
  const options = [
    ...(draft.pageSize === 0 ? [] : [`pageSize: ${draft.pageSize}`]),
    ...(draft.cacheMode === "default" ? [] : [`cache: { mode: ${literal(draft.cacheMode)} }`]),
    ...(draft.maxReadUnits === null ? [] : [`budget: { maxReadUnits: ${draft.maxReadUnits} }`]),
  ];
  const argument = options.length === 0 ? "" : `, { ${options.join(", ")} }`;
  return [
    `import { ${names.join(", ")} } from "dynamodb-processor-client/node";`,
    "",
    `const client = createQueryClient({ baseUrl: ${literal(gateway)}, apiKey: process.env.DDBQ_API_KEY });`,
    "const query = {",
    ...query.map((part) => `  ${part},`),
    "};",
    `for await (const item of client.stream(query${argument})) console.log(item);`,
    "client.close();",
  ].join("\n");
}

function addressOf(gateway: string): { host: string; isPlain: boolean } {
  const url = new URL(gateway);
  const isPlain = url.protocol === "http:";
  return { host: `${url.hostname}:${url.port || (isPlain ? "80" : "443")}`, isPlain };
}

/** Returns text as one word of a POSIX shell. */
function shell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Returns a literal of text, which JSON, Python and TypeScript read alike. */
function literal(text: string): string {
  return escaped(JSON.stringify(text));
}

/** Returns JSON in lines that are not long; only strings can hold what has to be escaped. */
function json(value: unknown, indent: number): string {
  const line = JSON.stringify(value);
  const isShort = line.length <= MAX_LINE || value === null || typeof value !== "object";
  if (isShort) return escaped(line);
  const margin = " ".repeat(indent + 2);
  const parts = Array.isArray(value)
    ? value.map((one) => json(one, indent + 2))
    : Object.entries(value).map(([name, one]) => `${literal(name)}: ${json(one, indent + 2)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${parts.map((part) => margin + part).join(",\n")}\n${" ".repeat(indent)}${close}`;
}

function escaped(text: string): string {
  return text.replace(UNPRINTABLE, (one) =>
    Array.from({ length: one.length }, (_, at) => `\\u${one.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""),
  );
}

function pythonValue(value: Typed): string {
  switch (value.kind) {
    case "s":
      return literal(value.value);
    case "n":
      return `Decimal(${literal(value.value)})`;
    case "b":
      return `base64.b64decode(${literal(value.value)})`;
    case "bool":
      return value.value ? "True" : "False";
    case "null":
      return "None";
    case "l":
      return `[${value.value.map(pythonValue).join(", ")}]`;
    case "m":
      return `{${value.value.map(([name, one]) => `${literal(name)}: ${pythonValue(one)}`).join(", ")}}`;
  }
}

function typescriptValue(value: Typed): string {
  switch (value.kind) {
    case "s":
      return literal(value.value);
    case "n":
      return `number(${literal(value.value)})`;
    case "b":
      return `binary(${literal(value.value)})`;
    case "bool":
      return String(value.value);
    case "null":
      return "null";
    case "l":
      return `[${value.value.map(typescriptValue).join(", ")}]`;
    case "m":
      return `new Map([${value.value.map(([name, one]) => `[${literal(name)}, ${typescriptValue(one)}]`).join(", ")}])`;
  }
}

function kindsOf(value: Typed): string[] {
  if (value.kind === "l") return ["l", ...value.value.flatMap(kindsOf)];
  if (value.kind === "m") return ["m", ...value.value.flatMap(([, one]) => kindsOf(one))];
  return [value.kind];
}
