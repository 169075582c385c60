/** What the tests find around them: the server that pytest started, tokens for it, and a proxy that fails on demand. */

import { createHmac } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export const HTTP = setting("DASHKEEPER_HTTP");
export const GRPC = setting("DASHKEEPER_GRPC");
export const PROJECT = setting("DASHKEEPER_PROJECT");

export const PROTOCOLS = ["connect", "grpc", "grpc-web"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) {
    throw new Error(`${name} is not set: run these tests by pytest tests/test_typescript_client.py`);
  }
  return value;
}

export function addressFor(protocol: Protocol): string {
  return protocol === "grpc" ? GRPC : HTTP;
}

/** Sign a token that the server takes for so many seconds, for one project. */
export function makeToken(seconds = 3_600, project = PROJECT): string {
  const claims = {
    iss: setting("DASHKEEPER_ISSUER"),
    aud: setting("DASHKEEPER_AUDIENCE"),
    sub: "tester",
    exp: Math.floor(Date.now() / 1_000) + seconds,
    projects: [project],
    scope: "dashboards:read dashboards:write",
  };
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", setting("DASHKEEPER_SECRET")).update(signed).digest("base64url")}`;
}

/** Return the address of a server that isn't there. */
export async function nowhere(): Promise<string> {
  await using proxy = await LossyProxy.to(HTTP);
  return proxy.url;
}

/** Look until the condition holds, ten times a second. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Stands between client and server, and can lose the server's answers. */
export class LossyProxy implements AsyncDisposable {
  /** Whether what the server sends is lost. */
  swallows = false;
  /** How many bytes were lost. */
  lost = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: string) {
    const { hostname, port } = new URL(target);
    this.#server = createServer((client) => {
      const server = connect(Number(port), hostname);
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on("error", () => {}); // a cut connection is what is wanted
        socket.on("close", () => {
          this.#sockets.delete(socket);
          client.destroy();
          server.destroy();
        });
      }
      client.on("data", (bytes) => server.write(bytes));
      server.on("data", (bytes) => {
        if (this.swallows) {
          this.lost += bytes.length;
        } else {
          client.write(bytes);
        }
      });
    });
  }

  static async to(target: string): Promise<LossyProxy> {
    const proxy = new LossyProxy(target);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cut all connections; new ones work. */
  cut(): void {
    this.swallows = false;
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.cut();
    await once(this.#server, "close");
  }
}
