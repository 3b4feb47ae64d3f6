// Validates custom resources by the schemas of their operators. The arguments name files of JSON
// lists; ends with 1 if an object has another shape, or if no schema is known for its kind.
import { readFileSync } from "node:fs";
import { Certificate } from "@kubernetes-models/cert-manager/cert-manager.io/v1";
import {
  PrometheusRule,
  ServiceMonitor,
} from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const KINDS = { Certificate, PrometheusRule, ServiceMonitor };
let count = 0;
for (const file of process.argv.slice(2)) {
  for (const object of JSON.parse(readFileSync(file, "utf8"))) {
    try {
      const Kind = KINDS[object.kind];
      if (!Kind) throw new Error("no schema is known for this kind");
      new Kind(object).validate();
    } catch (error) {
      console.log(`${file}: ${object.kind} ${object.metadata.name}: ${error.message}`);
      count += 1;
    }
  }
}
process.exit(count ? 1 : 0);
