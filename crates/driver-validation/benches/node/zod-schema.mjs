// The container config in zod, with the rules of its JSON Schema.

import { z } from "zod";

const name = z.string().max(128).regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/);
const longName = z.string().max(128).regex(/^[A-Za-z0-9][A-Za-z0-9._-]+$/);
const path = z.string().max(4096).regex(/^\//);
const target = path.min(2);
const mib = z.int().max(8_796_093_022_207);
const ms = z.int().max(86_400_000);
const user = /^([A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10})(:([A-Za-z_][A-Za-z0-9_.-]{0,31}|[0-9]{1,10}))?$/;

export const containerConfig = z.strictObject({
  sessionId: name,
  image: z.string().min(1).max(512),
  name: longName.nullish(),
  requestId: name.nullish(),
  entrypoint: z.array(z.string()).nullish(),
  command: z.array(z.string()).nullish(),
  workingDir: path.nullish(),
  env: z.record(z.string(), z.string()).default({}),
  labels: z.record(z.string(), z.string()).default({}),
  resources: z
    .strictObject({
      cpu: z.number().min(0.01).max(65536).default(0.5),
      memory: mib.min(6).default(512),
      disk: mib.min(1).default(1024),
      pids: z.int().min(1).max(4_194_304).default(100),
    })
    .prefault({}),
  volumes: z
    .array(
      z.strictObject({
        source: z.string().min(1).max(4096),
        target,
        readOnly: z.boolean().default(false),
        type: z.enum(["bind", "volume"]).nullish(),
      }),
    )
    .default([]),
  tmpfs: z.array(z.strictObject({ target, sizeMib: z.int().min(1).max(1_048_576) })).nullish(),
  ports: z
    .array(
      z.strictObject({
        containerPort: z.int().min(1).max(65535),
        hostPort: z.int().min(0).max(65535).nullish(),
        hostIp: z.string().nullish(),
        protocol: z.enum(["tcp", "udp"]).nullish(),
      }),
    )
    .default([]),
  network: name.default("none"),
  hostname: z.string().max(63).regex(/^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/).nullish(),
  dns: z.array(z.string()).default([]),
  extraHosts: z.record(z.string(), z.string()).default({}),
  security: z
    .strictObject({
      readOnly: z.boolean().default(true),
      noNewPrivileges: z.boolean().default(true),
      user: z.string().regex(user).default("1000:1000"),
      capabilities: z
        .strictObject({ drop: z.array(z.string()).default(["ALL"]), add: z.array(z.string()).default([]) })
        .prefault({}),
      seccomp: z.enum(["default", "unconfined"]).default("default"),
    })
    .prefault({}),
  healthcheck: z
    .strictObject({
      test: z.array(z.string()).min(1),
      intervalMs: ms.min(1).default(30_000),
      timeoutMs: ms.min(1).default(30_000),
      retries: z.int().min(1).max(1000).default(3),
      startPeriodMs: ms.min(0).default(0),
    })
    .nullish(),
  init: z.boolean().default(true),
  stdin: z.boolean().default(false),
  tty: z.boolean().default(false),
  stopSignal: z.string().regex(/^(SIG)?[A-Z0-9+]+$/).nullish(),
  pullPolicy: z.enum(["never", "missing", "always"]).default("missing"),
});
