/** Stands for grpc.js where there is no HTTP/2 with trailers. */
export function createGrpcTransport(): never {
  throw new Error('gRPC needs Node: leave `protocol` out here, or use "grpc-web"');
}
