// Generates TypeScript types from the published JSON Schemas into ./generated.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { compile } from "json-schema-to-typescript";

const schemas = new URL(process.env.SCHEMAS ?? "../../schemas/", import.meta.url);
const output = new URL("generated/", import.meta.url);
const names = ["container-config.input", "container-instance.output", "event.output", "driver-error.output"];

mkdirSync(output, { recursive: true });
for (const name of names) {
  const schema = JSON.parse(readFileSync(new URL(`${name}.schema.json`, schemas), "utf8"));
  const types = await compile(schema, schema.title, { bannerComment: "", additionalProperties: false });
  writeFileSync(new URL(`${name}.d.ts`, output), types);
}
