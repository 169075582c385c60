import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { createGrpcTransport } from "#grpc";
import { type Client, createClient } from "./client.js";
import { fetchWithoutRedirects, tellsLostConnections } from "./failures.js";
import { DashboardsService } from "./gen/dashboards/v1/dashboards_pb.js";
import { RegistrationsService } from "./gen/registrations/v1/registrations_pb.js";
import { retries, setsProject, setsRequestId, setsToken, type Token } from "./interceptors.js";

/** Where the server is, who calls, and in which project. */
export interface DashkeeperOptions {
  /** The address of the server's HTTP listener, or of its gRPC listener for gRPC: `https://dashkeeper.example.com`. */
  baseUrl: string;
  /** A JWT, or a function that gets one: called once, and again when the server refuses what it gave, or none came. */
  token: Token;
  /** The project whose resources the calls are about; the header `x-project-id` of a call overrides it. */
  projectId: string;
  /** Connect unless told. gRPC is there in Node only: browsers can't speak it. */
  protocol?: "connect" | "grpc" | "grpc-web";
  /** How long a call may take, all its attempts together: 10,000 ms unless told, here or in the call's options. */
  timeoutMs?: number;
  /** Whether plaintext, the token with it, may go over the network, to another machine: false unless told. */
  insecure?: boolean;
}

/** The clients of all services, and the transport below them. */
export interface Dashkeeper {
  readonly dashboards: Client<typeof DashboardsService>;
  readonly registrations: Client<typeof RegistrationsService>;
  readonly transport: Transport;
}

/** Create clients of a Dashkeeper server. */
export function createDashkeeper(options: DashkeeperOptions): Dashkeeper {
  const transport = createTransport(options);
  return {
    dashboards: createClient(DashboardsService, transport),
    registrations: createClient(RegistrationsService, transport),
    transport,
  };
}

/** Create a transport for this package's `createClient`, or for Connect's own. */
export function createTransport({
  baseUrl,
  token,
  projectId,
  protocol = "connect",
  timeoutMs = 10_000,
  insecure = false,
}: DashkeeperOptions): Transport {
  const transportOptions = {
    baseUrl: checkedUrl(baseUrl, insecure), // throws now, where the mistake is, not at the first call
    defaultTimeoutMs: timeoutMs,
    // The first is the outermost: every attempt is one request id, and asks for the token anew.
    interceptors: [setsRequestId, retries, setsProject(projectId), setsToken(token), tellsLostConnections],
  };
  switch (protocol) {
    case "connect":
      return createConnectTransport({ ...transportOptions, fetch: fetchWithoutRedirects });
    case "grpc-web":
      return createGrpcWebTransport({ ...transportOptions, fetch: fetchWithoutRedirects });
    case "grpc":
      return createGrpcTransport(transportOptions);
  }
}

function checkedUrl(text: string, insecure: boolean): string {
  const { protocol, username, password, hostname, href } = new URL(text);
  // `fetch` refuses it at each attempt, in words that show the password.
  if (username !== "" || password !== "") {
    throw new TypeError("baseUrl holds a user or a password: leave it out, `token` says who calls");
  }
  // `localhost:8080` is a URL too: its scheme is `localhost`.
  if (protocol !== "http:" && protocol !== "https:") {
    throw new TypeError(`baseUrl is ${text}: it must begin with http:// or https://`);
  }
  if (protocol === "http:" && !insecure && !isLoopback(hostname)) {
    throw new TypeError(
      `baseUrl is ${text}: the token would go over the network in plaintext; use https://, or say \`insecure: true\``,
    );
  }
  return href;
}

/** Whether it is this machine, whatever a name server says: URL has made 127.1 of any form 127.0.0.1. */
function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}
