/** A client that knows nothing of this project but its protos, loaded at run time: @grpc/grpc-js. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { credentials, loadPackageDefinition, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type MessageTypeDefinition, load } from "@grpc/proto-loader";
import { GRPC, makeToken, PROJECT, setting } from "./surroundings.ts";

type Call = (request: object) => Promise<any>;
type Detail = { type_url: string; value: Buffer };

const proto = setting("DASHKEEPER_PROTO");
const definition = await load(["dashboards/v1/dashboards.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"], {
  includeDirs: [proto, `${proto}/vendor`],
  longs: String,
  enums: String,
  defaults: true,
});
const { DashboardsService } = (loadPackageDefinition(definition) as any).dashboards.v1;
const client = new DashboardsService(new URL(GRPC).host, credentials.createInsecure());
const metadata = new Metadata();
metadata.set("authorization", `Bearer ${makeToken()}`);
metadata.set("x-project-id", PROJECT);
const call: Record<string, Call> = Object.fromEntries(
  ["create", "upsert", "list", "update"].map((name) => {
    const method = promisify(client[name].bind(client));
    return [name, (request) => method(request, metadata, { deadline: Date.now() + 10_000 })];
  }),
);
after(() => client.close());

/** Return an error's details by the names of their messages. */
function details(error: ServiceError): Record<string, any> {
  const decode = (name: string, bytes: Buffer) =>
    (definition[name] as MessageTypeDefinition<object, any>).deserialize(bytes);
  const [packed] = error.metadata.get("grpc-status-details-bin");
  const found = decode("google.rpc.Status", packed as Buffer).details as Detail[];
  const name = ({ type_url }: Detail) => type_url.split("/").at(-1) ?? "";
  return Object.fromEntries(found.map((detail) => [name(detail), decode(name(detail), detail.value)]));
}

test("a dashboard is created, filled and listed", async () => {
  const { dashboard } = await call["create"]!({ name: "Größe 🎯", labels: { by: "grpc-js" } });
  const tile = { id: "note", type: "TILE_TYPE_MARKDOWN", position: { w: 6, h: 2 }, markdown: { content: "# Goals" } };
  const filled = await call["upsert"]!({ dashboardId: dashboard.id, tiles: [tile] });
  assert.deepEqual(filled.changes.created, ["note"]);
  assert.deepEqual(filled.dashboard.tiles[0].position, { x: 0, y: 0, w: 6, h: 2 });
  assert.equal(filled.dashboard.revision, "2");
  const { dashboards } = await call["list"]!({ labels: { by: "grpc-js" } });
  assert.deepEqual([dashboards.length, dashboards[0].name], [1, "Größe 🎯"]);
});

test("an error tells the fields at fault", async () => {
  const tile = { type: "TILE_TYPE_MARKDOWN", position: { w: 40, h: 2 }, markdown: {} };
  await assert.rejects(call["create"]!({ name: "Growth", tiles: [tile] }), (error: ServiceError) => {
    assert.equal(error.code, status.INVALID_ARGUMENT);
    const [violation] = details(error)["google.rpc.BadRequest"].fieldViolations;
    assert.equal(violation.field, "tiles[0].position.w");
    return true;
  });
});

test("a conflict tells the current etag", async () => {
  const { dashboard: read } = await call["create"]!({ name: "Growth" });
  const { dashboard: theirs } = await call["update"]!({ id: read.id, description: "theirs" });
  await assert.rejects(call["update"]!({ id: read.id, name: "Mine", etag: read.etag }), (error: ServiceError) => {
    assert.equal(error.code, status.ABORTED);
    const info = details(error)["google.rpc.ErrorInfo"];
    assert.deepEqual([info.reason, info.metadata.current_etag], ["ETAG_MISMATCH", theirs.etag]);
    return true;
  });
});
