// Calls by @grpc/grpc-js with the contract loaded by @grpc/proto-loader (protobuf.js).
import path from 'node:path';
import readline from 'node:readline';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [target, root] = process.argv.slice(2);
const files = ['query_service', 'catalog_service', 'cache_service'].map((name) =>
  path.join('dynamodb_processor', 'v1', `${name}.proto`));
const definition = loader.loadSync(files, {
  includeDirs: [root], keepCase: true, longs: String, enums: String, bytes: String,
});
const { v1 } = grpc.loadPackageDefinition(definition).dynamodb_processor;
const clients = {};

function call({ service, method, request, metadata, timeout }) {
  clients[service] ??= new v1[service](target, grpc.credentials.createInsecure());
  const headers = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata)) headers.set(name, value);
  const options = { deadline: Date.now() + timeout * 1000 };
  const { responseStream } = v1[service].service[method];
  return new Promise((resolve) => {
    const messages = [];
    const failed = (error) => resolve({
      messages, code: error.code, message: error.details,
      status: error.metadata.get('grpc-status-details-bin')[0]?.toString('base64'),
    });
    if (responseStream) {
      const stream = clients[service][method](request, headers, options);
      let error;
      stream.on('data', (message) => messages.push(message));
      stream.on('error', (reason) => { error = reason; });
      // `end` comes after `error` as well.
      stream.on('status', () => setImmediate(() => (error ? failed(error) : resolve({ messages, code: 0 }))));
    } else {
      clients[service][method](request, headers, options, (error, message) =>
        error ? failed(error) : resolve({ messages: [message], code: 0 }));
    }
  });
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await call(JSON.parse(line))));
}
process.exit(0);
