// Uses the generated types: this file is only type-checked.

import type { ContainerConfig } from "./generated/container-config.input.js";
import type { ContainerInstance } from "./generated/container-instance.output.js";
import type { DriverError } from "./generated/driver-error.output.js";

export const config: ContainerConfig = {
  sessionId: "session-1",
  image: "alpine:3.20",
  command: ["echo", "hello"],
  resources: { memory: 256 },
  pullPolicy: "missing",
};

// @ts-expect-error an unknown field is refused
export const misspelt: ContainerConfig = { sessionId: "session-1", image: "alpine", commands: [] };

export function describe(container: ContainerInstance): string {
  return `${container.name} is ${container.status}, ${container.resources.memory} MiB`;
}

export function canRetry(error: DriverError): boolean {
  return error.retryable;
}
