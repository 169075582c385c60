/** What each protocol's client does when the token expires, the server is away, or an answer is lost. */

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createDashkeeper, type DashkeeperOptions } from "@dashkeeper/client";
import { DashboardsService } from "@dashkeeper/client/dashboards/v1/dashboards_connect";
import {
  addressFor,
  LossyProxy,
  makeToken,
  nowhere,
  PROJECT,
  PROTOCOLS,
  type Protocol,
  until,
} from "./surroundings.ts";

suite("faults", { concurrency: true }, () => PROTOCOLS.forEach(testsOver));

function testsOver(protocol: Protocol): void {
  suite(`over ${protocol}`, { concurrency: true }, () => {
    const connect = (options: Partial<DashkeeperOptions> = {}) =>
      createDashkeeper({ baseUrl: addressFor(protocol), token: makeToken(), projectId: PROJECT, protocol, ...options })
        .dashboards;

    test("a token that expires in the middle of a session is asked for anew, once for all calls", async () => {
      const tokens = [makeToken(10), makeToken()];
      let asked = 0;
      const client = connect({ token: async () => tokens[asked++] ?? "too often" });
      await Promise.all([client.list({}), client.list({})]);
      assert.equal(asked, 1);
      const withFirst = connect({ token: tokens[0] ?? "" });
      await until(() => withFirst.list({}).then(() => false, isUnauthenticated));
      const [{ dashboard }] = await Promise.all([client.create({ name: "Later" }), client.list({}), client.list({})]);
      assert.equal(dashboard.revision, 1n);
      assert.equal(asked, 2);
    });

    test("a token that is refused again is asked for no third time", async () => {
      let asked = 0;
      const client = connect({ token: () => `wrong-${++asked}` });
      await assert.rejects(client.list({}), { code: Code.Unauthenticated });
      assert.equal(asked, 2);
    });

    test("a token that can't be had fails the call, and the next call asks again", async () => {
      let asked = 0;
      const client = connect({
        token: async () => {
          if (++asked === 1) {
            throw new Error("the issuer is away");
          }
          return makeToken();
        },
      });
      await assert.rejects(client.list({}), { code: Code.Unauthenticated, rawMessage: "the issuer is away" });
      await client.list({});
      assert.equal(asked, 2);
    });

    test("a token that never comes ends at the deadline", async () => {
      const client = connect({ token: () => new Promise(() => {}), timeoutMs: 100 });
      await assert.rejects(client.list({}), { code: Code.DeadlineExceeded });
    });

    test("a token that never comes isn't what the next call waits for", async () => {
      let asked = 0;
      const client = connect({ token: () => (++asked === 1 ? new Promise(() => {}) : makeToken()) });
      await assert.rejects(client.list({}, { timeoutMs: 100 }), { code: Code.DeadlineExceeded });
      await client.list({});
      assert.equal(asked, 2);
    });

    test("a token that comes after the deadline is good for the next call", async () => {
      let give: (token: string) => void = assert.fail;
      const late = new Promise<string>((resolve) => {
        give = resolve;
      });
      let asked = 0;
      const client = connect({ token: () => (++asked === 1 ? late : "too often") });
      await assert.rejects(client.list({}, { timeoutMs: 100 }), { code: Code.DeadlineExceeded });
      give(makeToken());
      await new Promise(setImmediate); // what hangs on the promise is done
      await client.list({});
      assert.equal(asked, 1);
    });

    test("a write whose answer is lost is repeated, and done once", async () => {
      await using proxy = await LossyProxy.to(addressFor(protocol));
      const direct = connect();
      const client = connect({ baseUrl: proxy.url });
      const { dashboard } = await client.create({ name: "Growth" });
      proxy.swallows = true;
      const writing = client.update({ id: dashboard.id, description: "once", etag: dashboard.etag });
      await until(async () => (await direct.get({ id: dashboard.id })).dashboard.revision === 2n);
      proxy.cut();
      const { dashboard: written } = await writing;
      assert.deepEqual([written.description, written.revision], ["once", 2n]);
      assert.deepEqual((await direct.get({ id: dashboard.id })).dashboard, written);
    });

    test("a read whose answer is lost is repeated", async () => {
      await using proxy = await LossyProxy.to(addressFor(protocol));
      const client = connect({ baseUrl: proxy.url });
      proxy.swallows = true;
      const reading = client.list({});
      await until(async () => proxy.lost > 0);
      proxy.cut();
      await reading;
    });

    test("a call without an answer ends at the deadline, and the next one works", async () => {
      await using proxy = await LossyProxy.to(addressFor(protocol));
      const client = connect({ baseUrl: proxy.url, timeoutMs: 200 });
      proxy.swallows = true;
      const passed = { code: Code.DeadlineExceeded, cause: undefined };
      await assert.rejects(client.list({}), passed);
      await assert.rejects(client.list({}, { timeoutMs: 50 }), passed);
      proxy.cut();
      await client.list({}, { timeoutMs: 10_000 });
    });

    test("a server that stays away is DEADLINE_EXCEEDED, and the cause says what was wrong", async () => {
      const client = connect({ baseUrl: await nowhere(), timeoutMs: 2_000 });
      await assert.rejects(client.create({ name: "Growth" }), (error: ConnectError) => {
        assert.equal(error.code, Code.DeadlineExceeded);
        assert.ok(error.cause instanceof ConnectError);
        assert.equal(error.cause.code, Code.Unavailable);
        return true;
      });
    });

    test("a method that is no read and takes no request id is not repeated", async () => {
      const baseUrl = await nowhere();
      const { transport } = createDashkeeper({ baseUrl, token: "x", projectId: PROJECT, protocol });
      const method = {
        ...DashboardsService.method.get,
        idempotency: MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN,
      };
      await assert.rejects(transport.unary(method, undefined, undefined, undefined, {}), { code: Code.Unavailable });
    });

    test("a call that its caller cancels is not repeated", async () => {
      await using proxy = await LossyProxy.to(addressFor(protocol));
      const client = connect({ baseUrl: proxy.url });
      proxy.swallows = true;
      const controller = new AbortController();
      const reading = client.list({}, { signal: controller.signal });
      await until(async () => proxy.lost > 0);
      controller.abort();
      await assert.rejects(reading, { code: Code.Canceled });
    });
  });
}

test("an address that is none is refused where it is given", () => {
  for (const baseUrl of ["127.0.0.1:8080", "localhost:8080"]) {
    assert.throws(() => createDashkeeper({ baseUrl, token: "x", projectId: PROJECT }), TypeError);
  }
});

function isUnauthenticated(error: unknown): boolean {
  return ConnectError.from(error).code === Code.Unauthenticated;
}
