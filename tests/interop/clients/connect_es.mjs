// Calls by @connectrpc/connect-node, speaking gRPC, with messages of protobuf-es.
import readline from 'node:readline';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { fromJson, toJson } from '@bufbuild/protobuf';
import { ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';

const [target, generated] = process.argv.slice(2);
const transport = createGrpcTransport({ baseUrl: `http://${target}` });
const files = { QueryService: 'query_service', CatalogService: 'catalog_service', CacheService: 'cache_service' };
const services = {};
for (const [name, file] of Object.entries(files)) {
  const url = pathToFileURL(path.join(generated, 'dynamodb_processor', 'v1', `${file}_pb.js`));
  services[name] = (await import(url))[name];
}

async function call({ service, method, request, metadata, timeout }) {
  const schema = services[service];
  const { input, output, localName, methodKind } = schema.methods.find((each) => each.name === method);
  const client = createClient(schema, transport);
  const options = { headers: metadata, timeoutMs: timeout * 1000 };
  const messages = [];
  const keep = (message) => messages.push(toJson(output, message, { useProtoFieldName: true }));
  try {
    const answer = client[localName](fromJson(input, request), options);
    if (methodKind === 'unary') keep(await answer);
    else for await (const message of answer) keep(message);
    return { messages, code: 0 };
  } catch (reason) {
    const error = ConnectError.from(reason);
    const details = error.details.map(({ type, value }) => [type, Buffer.from(value).toString('base64')]);
    return { messages, code: error.code, message: error.rawMessage, details };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await call(JSON.parse(line))));
}
process.exit(0);
