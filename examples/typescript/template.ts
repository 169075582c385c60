/**
 * Write dashboards from templates in a CI job; the variables are the job's environment.
 *
 * A template is an UpsertRequest as ProtoJSON, with ${NAME} in its texts. All are checked before one is written:
 * where a single one is wrong, nothing is written and the exit code is 1.
 */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ConnectError, createDashkeeper, violationsOf } from "@dashkeeper/client";
import type { UpsertRequestJson } from "@dashkeeper/client/gen/dashboards/v1/upsert_pb";

const { dashboards } = createDashkeeper({
  baseUrl: process.env.SERVER ?? "http://127.0.0.1:8080",
  token: process.env.TOKEN ?? "",
  projectId: process.env.PROJECT ?? "demo",
});

/** Puts the variables in; throws if one is not set. */
function fillIn(template: string): UpsertRequestJson {
  const filledIn = template.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = process.env[name];
    if (value === undefined) {
      throw new Error(`the variable ${name} is not set`);
    }
    return JSON.stringify(value).slice(1, -1); // as it stands within a text of JSON
  });
  return JSON.parse(filledIn);
}

/** Returns what the server or the client finds wrong with a request, without writing anything. */
async function problems(request: UpsertRequestJson): Promise<string[]> {
  try {
    await dashboards.upsert({ ...request, validateOnly: true });
    return [];
  } catch (error) {
    const fields = violationsOf(error).map(({ field, description }) => `${field}: ${description}`);
    return fields.length > 0 ? fields : [ConnectError.from(error).message];
  }
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { check: { type: "boolean" } } });
if (positionals.length === 0) {
  console.error("which templates? node template.ts [--check] TEMPLATE...");
  process.exit(1);
}
const requests: UpsertRequestJson[] = [];
const wrong: string[] = [];
for (const path of positionals) {
  try {
    const request = fillIn(readFileSync(path, "utf-8"));
    requests.push(request);
    wrong.push(...(await problems(request)).map((problem) => `${path}: ${problem}`));
  } catch (error) {
    wrong.push(`${path}: ${(error as Error).message}`);
  }
}
if (wrong.length > 0) {
  console.error([...wrong, "nothing was written"].join("\n"));
  process.exit(1);
}
if (!values.check) {
  for (const request of requests) {
    try {
      const { dashboard } = await dashboards.upsert(request);
      console.log(`${dashboard.id}: revision ${dashboard.revision}`);
    } catch (error) {
      console.error(`${request.dashboardId}: ${ConnectError.from(error).message}`);
      process.exit(1);
    }
  }
}
