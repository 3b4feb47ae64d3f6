// One call by k6, and what became of it as a line of JSON.
import grpc from 'k6/net/grpc';
import { sleep } from 'k6';

const asked = JSON.parse(__ENV.CALL);
const client = new grpc.Client();
const files = ['query_service', 'catalog_service', 'cache_service'];
client.load([__ENV.PROTO], ...files.map((name) => `dynamodb_processor/v1/${name}.proto`));

const tell = (outcome) => console.log(`OUTCOME ${JSON.stringify(outcome)}`);

export default function () {
  client.connect(__ENV.TARGET, { plaintext: true });
  const path = `dynamodb_processor.v1.${asked.service}/${asked.method}`;
  const options = { metadata: asked.metadata, timeout: `${asked.timeout}s` };
  if (asked.streams) {
    const stream = new grpc.Stream(client, path, options);
    const messages = [];
    let failed = null;
    stream.on('data', (message) => messages.push(message));
    stream.on('error', (error) => { failed = error; });
    // `end` comes after `error` as well.
    stream.on('end', () => {
      tell(failed ? { messages, code: failed.code, message: failed.message } : { messages, code: 0 });
      client.close();
    });
    stream.write(asked.request);
    stream.end();
  } else {
    const answer = client.invoke(path, asked.request, options);
    if (answer.status === grpc.StatusOK) tell({ messages: [answer.message], code: 0 });
    else tell({ messages: [], code: answer.status, message: answer.error.message });
    client.close();
  }
}
