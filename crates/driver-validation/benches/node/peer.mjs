// Measures on request: reads `NAME ITERATIONS` lines, answers with nanoseconds a call.
// Arguments: the file of the JSON Schema and the file of the document.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Ajv2020 } from "ajv/dist/2020.js";
import { containerConfig } from "./zod-schema.mjs";

const [schemaFile, documentFile] = process.argv.slice(2);
const text = readFileSync(documentFile, "utf8");
const document = JSON.parse(text);
const validate = new Ajv2020({ strict: true }).compile(JSON.parse(readFileSync(schemaFile, "utf8")));

let kept;
const measured = {
  "parse+ajv": () => {
    const value = JSON.parse(text);
    if (!validate(value)) throw new Error("ajv refuses the document");
    kept = value;
  },
  "parse+zod": () => {
    kept = containerConfig.parse(JSON.parse(text));
  },
  "ajv alone": () => {
    kept = validate(document);
    if (!kept) throw new Error("ajv refuses the document");
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, iterations] = line.split("\t");
  const call = measured[name];
  const count = Number(iterations);
  const start = process.hrtime.bigint();
  for (let i = 0; i < count; i += 1) call();
  const elapsed = Number(process.hrtime.bigint() - start);
  console.log(String(elapsed / count));
}
// The last result outlives the loops, so that no call is optimised away.
process.exitCode = kept === undefined ? 1 : 0;
