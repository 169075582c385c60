/** Give a project its default dashboards, from files. Run again, it changes only what differs from the files. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ConnectError, createDashkeeper, fromJson, toJson } from "@dashkeeper/client";
import { type DashboardJson, DashboardSchema } from "@dashkeeper/client/gen/dashboards/v1/dashboard_pb";

const { dashboards } = createDashkeeper({
  baseUrl: process.env.SERVER ?? "http://127.0.0.1:8080",
  token: process.env.TOKEN ?? "",
  projectId: process.env.PROJECT ?? "demo",
});

/** Ends the program. */
function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

/** Reads a dashboard as ProtoJSON, and ends the program if that isn't what it is. */
function read(path: string): DashboardJson {
  try {
    return toJson(DashboardSchema, fromJson(DashboardSchema, JSON.parse(readFileSync(path, "utf-8"))));
  } catch (error) {
    fail(`${path}: ${(error as Error).message}`);
  }
}

/** Makes the project's dashboard what is wanted, and returns what that took. */
async function provision(wanted: DashboardJson): Promise<string> {
  const { id = "", name = "", description = "", labels = {}, tiles = [] } = wanted;
  let { dashboard, changes } = await dashboards.upsert({ dashboardId: id, name, tiles, allowMissing: true });
  const { created, updated, moved, deleted } = changes;
  const changed = [...created, ...updated, ...moved, ...deleted].map((tile) => `tile ${tile}`);
  // Upsert names a dashboard that it creates; all else that a dashboard says about itself is Update's.
  const present = toJson(DashboardSchema, dashboard);
  const fields = (["name", "description", "labels"] as const).filter(
    (field) => !isDeepStrictEqual(present[field], wanted[field]),
  );
  if (fields.length > 0) {
    ({ dashboard } = await dashboards.update({ id, name, description, labels, updateMask: fields.join() }));
  }
  return `revision ${dashboard.revision}, ${[...changed, ...fields].join(", ") || "as it was"}`;
}

const folder = process.argv[2] ?? fail("which folder? node provision.ts FOLDER");
const files = readdirSync(folder).filter((file) => file.endsWith(".json"));
// All are read before the first is written.
const all = files.sort().map((file) => ({ path: join(folder, file), wanted: read(join(folder, file)) }));
if (all.length === 0) {
  fail(`${folder} holds no *.json`);
}
for (const { path, wanted } of all) {
  try {
    console.log(`${wanted.id}: ${await provision(wanted)}`);
  } catch (error) {
    fail(`${path}: ${ConnectError.from(error).message}`);
  }
}
