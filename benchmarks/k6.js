// Calls QueryService.Query as fast as the server answers, with a schedule drawn beforehand: every
// run sends the same calls. LOAD names the file with them, which `generators.py` writes.
import grpc from 'k6/net/grpc';
import exec from 'k6/execution';
import { Counter } from 'k6/metrics';

const load = JSON.parse(open(__ENV.LOAD));
const failures = new Counter('failures');
const client = new grpc.Client();
client.load([__ENV.PROTO], 'dynamodb_processor/v1/query_service.proto');

// Decoding 1,000 values for each call would make the generator the bottleneck.
const parameters = { metadata: { 'x-api-key': load.key }, discardResponseMessage: true };
let next = -1;

export const options = {
  thresholds: { failures: ['count==0'] },
  summaryTrendStats: ['count', 'med', 'p(99)'],
};

export default function () {
  if (next < 0) {
    next = exec.vu.idInTest * 9973; // callers start at places of their own
    client.connect(__ENV.TARGET, { plaintext: true });
  }
  const request = load.requests[load.schedule[next % load.schedule.length]];
  next += 1;
  if (client.invoke(__ENV.METHOD, request, parameters).status !== grpc.StatusOK) failures.add(1);
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data) };
}
