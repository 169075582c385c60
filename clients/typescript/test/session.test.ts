/** An editor's session over each protocol, by this package's client and by plain connect-es ones. */

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { createClient as createPlainClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import {
  Code,
  ConnectError,
  createClient,
  createDashkeeper,
  currentEtagOf,
  reasonOf,
  toJson,
  violationsOf,
} from "@dashkeeper/client";
import { DashboardsService } from "@dashkeeper/client/dashboards/v1/dashboards_connect";
import { CreateRequestSchema } from "@dashkeeper/client/gen/dashboards/v1/changes_pb";
import { DashboardSchema } from "@dashkeeper/client/gen/dashboards/v1/dashboard_pb";
import { type TileJson, TileType } from "@dashkeeper/client/gen/dashboards/v1/tile_pb";
import { RegistrationsService } from "@dashkeeper/client/registrations/v1/registrations_connect";
import { addressFor, makeToken, nowhere, PROJECT, PROTOCOLS, setting } from "./surroundings.ts";

// Generated without any option, beside this package's own code.
const generated: { DashboardsService: typeof DashboardsService } = await import(setting("DASHKEEPER_PLAIN"));

const SIGNUPS: TileJson = {
  id: "signups",
  type: "TILE_TYPE_INSIGHT",
  position: { x: 0, y: 0, w: 12, h: 4 },
  insight: {
    query: { events: [{ name: "signup" }], granularity: "GRANULARITY_DAY", aggregation: "AGGREGATION_COUNT" },
    visualization: "VISUALIZATION_LINE",
  },
};

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConnectError);
  return error;
}

for (const protocol of PROTOCOLS) {
  suite(`over ${protocol}`, () => {
    const { dashboards, registrations, transport } = createDashkeeper({
      baseUrl: addressFor(protocol),
      token: makeToken(),
      projectId: PROJECT,
      protocol,
    });

    test("a dashboard is created, filled, listed and read", async () => {
      const { dashboard } = await dashboards.create({ name: "Größe 🎯", labels: { by: protocol } });
      const { dashboard: filled, changes } = await dashboards.upsert({ dashboardId: dashboard.id, tiles: [SIGNUPS] });
      assert.deepEqual(changes.created, ["signups"]);
      const { dashboards: found } = await dashboards.list({ labels: { by: protocol } });
      assert.deepEqual(
        found.map(({ id, tileCount }) => [id, tileCount]),
        [[dashboard.id, 1]],
      );
      const { dashboard: got } = await dashboards.get({ id: dashboard.id });
      assert.deepEqual(got, filled);
      assert.equal(got.tiles[0]?.type, TileType.INSIGHT);
      assert.equal(got.revision, 2n);
      assert.deepEqual(toJson(DashboardSchema, got).tiles, [SIGNUPS].map(withoutZeros));
    });

    test("an error tells every field at fault", async () => {
      const tiles = [SIGNUPS, { ...SIGNUPS, id: "wide", position: { x: 0, w: 40, h: 4 } }];
      const error = await failure(dashboards.create({ name: "", tiles }));
      assert.equal(error.code, Code.InvalidArgument);
      assert.equal(reasonOf(error), "INVALID_REQUEST");
      assert.deepEqual(
        violationsOf(error)
          .map(({ field }) => field)
          .sort(),
        ["name", "tiles[1].position.w"],
      );
      assert.ok(violationsOf(error).every(({ description }) => description));
    });

    test("a conflict tells the current etag, by which the write is done", async () => {
      const { dashboard: read } = await dashboards.create({ name: "Growth" });
      const { dashboard: theirs } = await dashboards.update({ id: read.id, description: "theirs" });
      const error = await failure(dashboards.update({ id: read.id, name: "Mine", etag: read.etag }));
      assert.equal(error.code, Code.Aborted);
      assert.equal(reasonOf(error), "ETAG_MISMATCH");
      const etag = currentEtagOf(error);
      assert.equal(etag, theirs.etag);
      const { dashboard } = await dashboards.update({ id: read.id, name: "Mine", ...(etag && { etag }) });
      assert.deepEqual([dashboard.name, dashboard.description, dashboard.revision], ["Mine", "theirs", 3n]);
    });

    test("each write has a request id of its own, whatever message it is made of", async () => {
      const plain = createPlainClient(DashboardsService, transport);
      const message = create(CreateRequestSchema, { name: "Twice" });
      const first = await plain.create(message);
      const second = await plain.create(message);
      assert.notEqual(first.dashboard?.id, second.dashboard?.id);
      const requestId = crypto.randomUUID();
      const third = await dashboards.create({ name: "Once", requestId });
      const again = await dashboards.create({ name: "Once", requestId });
      assert.deepEqual(again, third);
    });

    test("a call's own header names another project", async () => {
      const error = await failure(dashboards.list({}, { headers: { "x-project-id": "elsewhere" } }));
      assert.equal(reasonOf(error), "PROJECT_NOT_ALLOWED");
    });

    test("registrations have a client too", async () => {
      const place = { organisationId: `${PROJECT}-${protocol}`, communityId: "c" };
      const { registration } = await registrations.create({ title: "Growth", scopes: ["SCOPE_SEGMENTS"], ...place });
      const { registration: got } = await registrations.get({ id: registration.id });
      assert.deepEqual(got, registration);
      const other = createClient(RegistrationsService, transport);
      assert.deepEqual((await other.get({ id: registration.id })).registration, registration);
    });

    test("a plain client of connect-es, of code that anybody generates, works", async () => {
      const authorise: Interceptor = (next) => (request) => {
        request.header.set("authorization", `Bearer ${makeToken()}`);
        request.header.set("x-project-id", PROJECT);
        return next(request);
      };
      const make = { connect: createConnectTransport, grpc: createGrpcTransport, "grpc-web": createGrpcWebTransport };
      const httpVersion = "1.1" as const;
      const options = { baseUrl: addressFor(protocol), httpVersion, interceptors: [authorise] };
      // gRPC's own JSON encoding isn't served.
      for (const useBinaryFormat of protocol === "grpc" ? [true] : [true, false]) {
        const plain = createPlainClient(generated.DashboardsService, make[protocol]({ ...options, useBinaryFormat }));
        const { dashboard } = await plain.create({ name: "Plain" });
        assert.equal(dashboard?.name, "Plain");
        assert.equal(reasonOf(await failure(plain.get({ id: "none-such" }))), "DASHBOARD_NOT_FOUND");
      }
    });
  });
}

test("a token that can't be sent is refused without being told", async () => {
  for (const token of ["", "SECRET\nabc", "sécret", () => undefined as unknown as string]) {
    const { dashboards } = createDashkeeper({ baseUrl: await nowhere(), token, projectId: PROJECT });
    const error = await failure(dashboards.get({ id: "a" }));
    assert.equal(error.code, Code.Unauthenticated);
    assert.match(error.message, /must be a JWT/);
    assert.doesNotMatch(error.message, /SECRET|sécret/);
  }
});

test("a request that isn't the message's JSON is refused without being sent", async () => {
  const { dashboards } = createDashkeeper({ baseUrl: await nowhere(), token: "x", projectId: PROJECT });
  // @ts-expect-error a misspelt word
  const word = await failure(dashboards.upsert({ dashboardId: "d", tiles: [{ type: "TILE_TYPE_INSIHGT" }] }));
  assert.equal(word.code, Code.InvalidArgument);
  // @ts-expect-error a misspelt field
  const field = await failure(dashboards.create({ nmae: "Growth" }));
  assert.equal(field.code, Code.InvalidArgument);
  // As null it would be absent, and the guard gone.
  const guard = await failure(dashboards.upsert({ dashboardId: "any", maxDeletions: Number("three") }));
  assert.equal(guard.code, Code.InvalidArgument);
  assert.match(guard.message, /maxDeletions is NaN/);
});

test("helpers take any error", () => {
  for (const error of [new TypeError("no"), "text", undefined, new ConnectError("bare", Code.Aborted)]) {
    assert.deepEqual([reasonOf(error), violationsOf(error), currentEtagOf(error)], [undefined, [], undefined]);
  }
});

function withoutZeros(tile: TileJson): TileJson {
  return { ...tile, position: { w: 12, h: 4 } };
}
