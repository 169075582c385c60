import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport as create } from "@connectrpc/connect-node";

/** What a transport of any kind is made with. */
export interface TransportOptions {
  baseUrl: string;
  defaultTimeoutMs: number;
  interceptors: Interceptor[];
}

/** Create a gRPC transport on Node's HTTP/2. */
export function createGrpcTransport(options: TransportOptions): Transport {
  return create(options);
}
