/**
 * Copy a dashboard from one environment to another, from staging to production say.
 *
 * It shows what would change there. With --write it does just that, unless it would delete more tiles than
 * --max-deletions allows.
 */

import { isDeepStrictEqual, parseArgs } from "node:util";
import { ConnectError, createDashkeeper, type Dashkeeper, toJson } from "@dashkeeper/client";
import { DashboardSchema } from "@dashkeeper/client/gen/dashboards/v1/dashboard_pb";

/** Makes a client of the server that variables with this prefix name. */
function environment(prefix: "FROM" | "TO"): Dashkeeper["dashboards"] {
  const [baseUrl, token, projectId] = ["SERVER", "TOKEN", "PROJECT"].map((name) => {
    const value = process.env[`${prefix}_${name}`];
    if (value === undefined) {
      console.error(`the variable ${prefix}_${name} is not set`);
      process.exit(1);
    }
    return value;
  }) as [string, string, string];
  return createDashkeeper({ baseUrl, token, projectId }).dashboards;
}

/** Shows what would change, and does it where told. */
async function copy(id: string, write: boolean, maxDeletions: number): Promise<void> {
  const source = environment("FROM");
  const target = environment("TO");
  const original = (await source.get({ id })).dashboard;
  const wanted = toJson(DashboardSchema, original);
  const { name = "", description = "", labels = {}, tiles = [] } = wanted;
  const changeMessage = `copied from revision ${original.revision} in ${process.env.FROM_SERVER}`;
  const request = { dashboardId: id, tiles, name, allowMissing: true, changeMessage };
  let { dashboard, changes } = await target.upsert({ ...request, validateOnly: true });
  for (const kind of ["created", "updated", "moved", "deleted", "unchanged"] as const) {
    if (changes[kind].length > 0) {
      console.log(`${kind}: ${changes[kind].join(", ")}`);
    }
  }
  const present = toJson(DashboardSchema, dashboard);
  const fields = (["name", "description", "labels"] as const).filter(
    (field) => !isDeepStrictEqual(present[field], wanted[field]),
  );
  if (fields.length > 0) {
    console.log(`set: ${fields.join(", ")}`);
  }
  if (!write) {
    return;
  }

  // By the etag: what was shown, or nothing. It is empty where there is no such dashboard yet.
  ({ dashboard } = await target.upsert({ ...request, maxDeletions, etag: dashboard.etag }));
  if (fields.length > 0) {
    const update = { id, name, description, labels, updateMask: fields.join(), changeMessage };
    ({ dashboard } = await target.update({ ...update, etag: dashboard.etag }));
  }
  console.log(`written: ${id} is at revision ${dashboard.revision}`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { write: { type: "boolean", default: false }, "max-deletions": { type: "string", default: "0" } },
});
try {
  await copy(positionals[0] ?? "", values.write, Number(values["max-deletions"]));
} catch (error) {
  console.error(ConnectError.from(error).message);
  process.exit(1);
}
