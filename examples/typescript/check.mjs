// Validates every fixture with ajv in strict mode and compares the verdicts with the expected ones.

import { readFileSync, readdirSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";

const read = (url) => JSON.parse(readFileSync(url, "utf8"));
const schemas = new URL(process.env.SCHEMAS ?? "../../schemas/", import.meta.url);
const fixtures = new URL(process.env.FIXTURES ?? "../fixtures/", import.meta.url);

const ajv = new Ajv2020({ strict: true, allErrors: true });
const validators = new Map();
for (const { file } of read(new URL("index.json", schemas)).schemas) {
  validators.set(file, ajv.compile(read(new URL(file, schemas))));
}

const files = readdirSync(new URL("generated/", fixtures)).sort().map((name) => new URL(`generated/${name}`, fixtures));
files.push(new URL("rules.json", fixtures));

let count = 0;
const disagreements = [];
for (const file of files) {
  const { schema, cases } = read(file);
  for (const fixture of cases) {
    count += 1;
    const name = fixture.schema ?? schema;
    if (validators.get(name)(fixture.instance) !== fixture.schemaValid) {
      disagreements.push(`${name}: ${fixture.name}: expected ${fixture.schemaValid ? "valid" : "invalid"}`);
    }
  }
}
disagreements.forEach((line) => console.error(line));
console.log(`ajv: ${validators.size} schemas, ${count} fixtures, ${disagreements.length} disagreements`);
process.exitCode = disagreements.length === 0 && count >= 60 ? 0 : 1;
