/** Unpacks the Chromium of @sparticuz/chromium: `node unpack.mjs FOLDER`. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
// The package unpacks into the folder of temporary files.
process.env.TMPDIR = folder;
const { inflate } = await import("@sparticuz/chromium");
const packed = fileURLToPath(new URL("../bin/", import.meta.resolve("@sparticuz/chromium")));
// The libraries are those of a desktop, which a server may not have.
for (const name of ["chromium.br", "al2023.tar.br"]) await inflate(join(packed, name));
