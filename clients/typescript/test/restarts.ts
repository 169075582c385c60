/**
 * Writes over each protocol, each write on the one before, until standard input ends, while pytest restarts the server.
 *
 * Then it checks that each write stands in the history, once and in its place.
 */

import assert from "node:assert/strict";
import { createDashkeeper } from "@dashkeeper/client";
import { addressFor, makeToken, PROJECT, PROTOCOLS, type Protocol } from "./surroundings.ts";

let goesOn = true;
process.stdin.on("end", () => (goesOn = false)).resume();

async function write(protocol: Protocol): Promise<number> {
  const { dashboards } = createDashkeeper({
    baseUrl: addressFor(protocol),
    token: makeToken(),
    projectId: PROJECT,
    protocol,
    timeoutMs: 30_000,
  });
  let { dashboard } = await dashboards.create({ name: protocol, changeMessage: "1" });
  const { id } = dashboard;
  let writes = 1;
  while (goesOn) {
    const change = { description: `${++writes}`, changeMessage: `${writes}` };
    // The etag: if the write before had been lost or done twice, this one would be refused.
    ({ dashboard } = await dashboards.update({ id, etag: dashboard.etag, ...change }));
  }
  assert.equal(dashboard.revision, BigInt(writes));
  const { revisions } = await dashboards.listRevisions({ id });
  const expected = revisions.map((_, index) => `${writes - index}`);
  assert.deepEqual(
    revisions.map(({ changeMessage }) => changeMessage),
    expected,
  );
  return writes;
}

console.log("done", await Promise.all(PROTOCOLS.map(write)));
