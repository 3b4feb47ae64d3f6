// Calls a server for some seconds, with a number of calls in flight on each connection. LOAD names
// a file, which `generators.py` writes: the kind of calls, the requests and their order.
import grpc from 'k6/net/grpc';
import http from 'k6/http';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

const load = JSON.parse(open(__ENV.LOAD));
const inFlight = Number(__ENV.IN_FLIGHT);
const answers = new Counter('answers'); // responses, and messages of streams
const failures = new Counter('failures');
const client = new grpc.Client();
if (load.kind !== 'http') client.load([__ENV.PROTO], 'dynamodb_processor/v1/query_service.proto');

// Decoding 1,000 values for each call would make the generator the bottleneck.
const parameters = { metadata: { 'x-api-key': load.key }, discardResponseMessage: true };

export const options = {
  scenarios: {
    load: {
      executor: 'per-vu-iterations',
      vus: Number(__ENV.CONNECTIONS),
      iterations: 1,
      maxDuration: '120s',
    },
  },
  batchPerHost: inFlight, // as many idle connections to the host are kept
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(99)'],
  systemTags: [],
};

let next = 0;

// Requests are drawn beforehand, or new ones: users that no call has named before.
function nextRequest() {
  next += 1;
  if (load.schedule.length) return load.requests[load.schedule[next % load.schedule.length]];
  const request = JSON.parse(load.template);
  request.query.parameters.user.s = `${__ENV.RUN}-${exec.vu.idInTest}-${next}`;
  return request;
}

function url(request) {
  const { user, start, end } = request.query.parameters;
  const query = `user=${encodeURIComponent(user.s)}&start=${start.s}&end=${end.s}`;
  return `http://${__ENV.TARGET}${load.path}?${query}`;
}

async function callOnce() {
  if (load.kind === 'http') return (await http.asyncRequest('GET', url(nextRequest()))).status === 200;
  const response = await client.asyncInvoke(__ENV.METHOD, nextRequest(), parameters);
  return response.status === grpc.StatusOK;
}

function streamOnce() {
  return new Promise((resolve) => {
    const stream = new grpc.Stream(client, __ENV.METHOD, { metadata: { 'x-api-key': load.key } });
    let failed = false;
    stream.on('data', () => answers.add(1));
    stream.on('error', () => { failed = true; });
    stream.on('end', () => resolve(!failed));
    stream.write(nextRequest());
    stream.end();
  });
}

async function repeat(until) {
  while (Date.now() < until) {
    if (load.kind === 'stream') {
      if (!(await streamOnce())) failures.add(1);
    } else if (await callOnce()) {
      answers.add(1);
    } else {
      failures.add(1);
    }
  }
}

export default async function () {
  next = exec.vu.idInTest * 9973; // callers start at places of their own
  if (load.kind !== 'http') client.connect(__ENV.TARGET, { plaintext: true });
  const until = Date.now() + Number(__ENV.SECONDS) * 1000;
  await Promise.all(Array.from({ length: inFlight }, () => repeat(until)));
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data) };
}
