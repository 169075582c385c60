/** What no further attempt can mend fails at once, whatever the deadline; and what isn't sent at all. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server, createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer, type Server } from "node:net";
import { after, suite, test } from "node:test";
import { Code, type ConnectError, createDashkeeper } from "@dashkeeper/client";
import { addressFor, GRPC, HTTP, makeToken, PROJECT, PROTOCOLS, type Protocol, setting } from "./surroundings.ts";

const servers: Server[] = [];
after(() => servers.map((server) => server.close()));

async function portOf(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

const identity = {
  key: readFileSync(setting("DASHKEEPER_KEY")),
  cert: readFileSync(setting("DASHKEEPER_CERTIFICATE")),
};

/** Servers that no client can work with, by what is wrong; each is asked for an address anew. */
const WRONG: Record<string, (protocol: Protocol) => Promise<string>> = {
  "TLS against plaintext": async (protocol) => addressFor(protocol).replace("http:", "https:"),
  "the port of the other listener": async (protocol) => (protocol === "grpc" ? HTTP : GRPC),
  "a server of something else": async () => {
    const server = createServer((socket) => socket.on("error", () => {}).end("SSH-2.0-OpenSSH_9\r\n"));
    return `http://127.0.0.1:${await portOf(server)}`;
  },
  "a certificate that nobody trusts": async (protocol) => {
    const server = protocol === "grpc" ? createSecureServer(identity) : createHttpsServer(identity);
    return `https://127.0.0.1:${await portOf(server)}`;
  },
};

suite("permanent failures", { concurrency: true }, () => {
  for (const protocol of PROTOCOLS) {
    const connect = (baseUrl: string) =>
      createDashkeeper({ baseUrl, token: makeToken(), projectId: PROJECT, protocol, timeoutMs: 30_000 }).dashboards;

    for (const [what, address] of Object.entries(WRONG)) {
      test(`${what} over ${protocol} is told at once`, async () => {
        const baseUrl = await address(protocol);
        await assert.rejects(connect(baseUrl).create({ name: "Growth" }), (error: ConnectError) => {
          assert.equal(error.code, Code.FailedPrecondition);
          assert.ok(error.rawMessage.startsWith(`no call can be made to ${baseUrl}/`), error.rawMessage);
          assert.match(error.rawMessage, /check baseUrl/);
          assert.ok(error.cause instanceof Error);
          return true;
        });
      });
    }

    test(`a redirect over ${protocol} is told at once and not followed`, async () => {
      let asked = 0;
      const location = "http://127.0.0.1:1/";
      const server =
        protocol === "grpc"
          ? createHttp2Server().on("stream", (stream) => {
              asked++;
              stream.respond({ ":status": 308, location });
              stream.end();
            })
          : createHttpServer((_, answer) => {
              asked++;
              answer.writeHead(307, { location, connection: "close" }).end();
            });
      const baseUrl = `http://127.0.0.1:${await portOf(server)}`;
      await assert.rejects(connect(baseUrl).list({}), (error: ConnectError) => {
        assert.equal(error.code, Code.FailedPrecondition);
        assert.match(error.rawMessage, /^http.* is redirected: baseUrl must be Dashkeeper's own$/);
        return true;
      });
      assert.equal(asked, 1);
    });
  }
});

test("plaintext to another machine is refused where the address is given, unless told", () => {
  const create = (baseUrl: string, insecure?: boolean) =>
    createDashkeeper({ baseUrl, token: "x", projectId: PROJECT, ...(insecure === undefined ? {} : { insecure }) });
  const others = ["10.0.0.1", "0.0.0.0", "dashkeeper:8080", "localhost.example.com", "127.0.0.1.example.com", "[::2]"];
  for (const host of others) {
    for (const insecure of [undefined, false]) {
      assert.throws(() => create(`http://${host}`, insecure), /TypeError: .*in plaintext; use https:/);
    }
    create(`http://${host}`, true);
    create(`https://${host}`);
  }
  for (const host of ["localhost:8080", "127.0.0.1", "127.1.2.3:50051", "127.1", "[::1]:8080"]) {
    create(`http://${host}`);
  }
});

test("a user or password in the address is refused where it is given, and not told", () => {
  for (const protocol of PROTOCOLS) {
    for (const account of ["ann:pass", "ann", ":pass"]) {
      for (const scheme of ["https", "http", "ftp"]) {
        const options = { baseUrl: `${scheme}://${account}@dashkeeper`, token: "x", projectId: PROJECT, protocol };
        const message = "baseUrl holds a user or a password: leave it out, `token` says who calls";
        assert.throws(() => createDashkeeper(options), { name: "TypeError", message });
      }
    }
  }
});
