/** A client that knows nothing of this project but its protos, loaded at run time: @grpc/grpc-js. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { promisify } from "node:util";
import {
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { load, type MessageTypeDefinition } from "@grpc/proto-loader";
import { GRPC, makeToken, PROJECT, setting } from "./surroundings.ts";

interface Dashboard {
  id: string;
  name: string;
  etag: string;
  revision: string;
  tiles: { position: object }[];
}
interface Answer {
  dashboard: Dashboard;
  dashboards: Dashboard[];
  changes: { created: string[] };
}
interface Details {
  "google.rpc.BadRequest"?: { fieldViolations: { field: string }[] };
  "google.rpc.ErrorInfo"?: { reason: string; metadata: Record<string, string> };
}

const proto = setting("DASHKEEPER_PROTO");
const files = ["dashboards/v1/dashboards.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"];
const includeDirs = [proto, `${proto}/vendor`];
const definition = await load(files, { includeDirs, longs: String, enums: String, defaults: true });
const packages = loadPackageDefinition(definition) as unknown as {
  dashboards: { v1: { DashboardsService: ServiceClientConstructor } };
};
const client = new packages.dashboards.v1.DashboardsService(new URL(GRPC).host, credentials.createInsecure());
after(() => client.close());

const metadata = new Metadata();
metadata.set("authorization", `Bearer ${makeToken()}`);
metadata.set("x-project-id", PROJECT);

function method(name: string): (request: object) => Promise<Answer> {
  const call = promisify(client[name] as (...call: unknown[]) => void).bind(client) as (...call: unknown[]) => unknown;
  return async (request) => (await call(request, metadata, { deadline: Date.now() + 10_000 })) as Answer;
}
const create = method("create");
const update = method("update");

/** Return an error's details by the names of their messages. */
function details(error: ServiceError): Details {
  const decode = (name: string, bytes: Buffer) =>
    (definition[name] as MessageTypeDefinition<object, object>).deserialize(bytes);
  const [packed] = error.metadata.get("grpc-status-details-bin");
  const status = decode("google.rpc.Status", packed as Buffer) as { details: { type_url: string; value: Buffer }[] };
  return Object.fromEntries(
    status.details.map(({ type_url, value }) => {
      const name = type_url.split("/").at(-1) ?? "";
      return [name, decode(name, value)];
    }),
  );
}

test("a dashboard is created, filled and listed", async () => {
  const { dashboard } = await create({ name: "Größe 🎯", labels: { by: "grpc-js" } });
  const tile = { id: "note", type: "TILE_TYPE_MARKDOWN", position: { w: 6, h: 2 }, markdown: { content: "# Goals" } };
  const filled = await method("upsert")({ dashboardId: dashboard.id, tiles: [tile] });
  assert.deepEqual(filled.changes.created, ["note"]);
  assert.deepEqual(filled.dashboard.tiles[0]?.position, { x: 0, y: 0, w: 6, h: 2 });
  assert.equal(filled.dashboard.revision, "2");
  const { dashboards } = await method("list")({ labels: { by: "grpc-js" } });
  assert.deepEqual([dashboards.length, dashboards[0]?.name], [1, "Größe 🎯"]);
});

test("an error tells the fields at fault", async () => {
  const tile = { type: "TILE_TYPE_MARKDOWN", position: { w: 40, h: 2 }, markdown: {} };
  await assert.rejects(create({ name: "Growth", tiles: [tile] }), (error: ServiceError) => {
    assert.equal(error.code, status.INVALID_ARGUMENT);
    const found = details(error)["google.rpc.BadRequest"]?.fieldViolations.map(({ field }) => field);
    assert.deepEqual(found, ["tiles[0].position.w"]);
    return true;
  });
});

test("a conflict tells the current etag", async () => {
  const { dashboard: read } = await create({ name: "Growth" });
  const { dashboard: theirs } = await update({ id: read.id, description: "theirs" });
  await assert.rejects(update({ id: read.id, name: "Mine", etag: read.etag }), (error: ServiceError) => {
    assert.equal(error.code, status.ABORTED);
    const info = details(error)["google.rpc.ErrorInfo"];
    assert.deepEqual([info?.reason, info?.metadata.current_etag], ["ETAG_MISMATCH", theirs.etag]);
    return true;
  });
});
