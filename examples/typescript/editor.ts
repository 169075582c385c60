/**
 * Change a tile's title, as an editor does: read, let somebody think, write only onto what they saw.
 *
 * If others changed the dashboard meanwhile, it is read again and the change made to what is there now. Where that
 * can't be done, because the tile is gone or has another title, nothing is written.
 */

import { createInterface } from "node:readline/promises";
import { ConnectError, createDashkeeper, reasonOf, toJson } from "@dashkeeper/client";
import { type Dashboard, DashboardSchema } from "@dashkeeper/client/gen/dashboards/v1/dashboard_pb";

const { dashboards } = createDashkeeper({
  baseUrl: process.env.SERVER ?? "http://127.0.0.1:8080",
  token: process.env.TOKEN ?? "",
  projectId: process.env.PROJECT ?? "demo",
});
const [dashboardId = "", tileId = ""] = process.argv.slice(2);

/** Returns the tile's title. */
function titleIn(dashboard: Dashboard): string {
  const tile = dashboard.tiles.find(({ id }) => id === tileId);
  if (tile === undefined) {
    throw new Error(`${dashboard.id} has no tile ${tileId} at revision ${dashboard.revision}`);
  }
  return tile.title;
}

/** Reads one line. */
async function ask(question: string): Promise<string> {
  console.log(question);
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    return line.trim();
  }
  return "";
}

async function edit(): Promise<void> {
  let { dashboard } = await dashboards.get({ id: dashboardId });
  const seen = titleIn(dashboard);
  const title = await ask(`The title is "${seen}". The new title:`);
  if (title === "") {
    throw new Error("no new title: nothing was written");
  }
  for (;;) {
    if (titleIn(dashboard) !== seen) {
      throw new Error(`${dashboard.updatedBy} made the title "${titleIn(dashboard)}" meanwhile: nothing was written`);
    }
    const { tiles = [] } = toJson(DashboardSchema, dashboard);
    const changed = tiles.map((tile) => (tile.id === tileId ? { ...tile, title } : tile));
    try {
      ({ dashboard } = await dashboards.upsert({ dashboardId, tiles: changed, etag: dashboard.etag }));
      console.log(`The title is "${title}" as of revision ${dashboard.revision}.`);
      return;
    } catch (error) {
      if (reasonOf(error) !== "ETAG_MISMATCH") {
        throw error;
      }
      ({ dashboard } = await dashboards.get({ id: dashboardId }));
      console.log(`${dashboard.updatedBy} changed the dashboard meanwhile: trying again`);
    }
  }
}

try {
  await edit();
} catch (error) {
  console.error(error instanceof ConnectError ? error.message : (error as Error).message);
  process.exitCode = 1;
}
