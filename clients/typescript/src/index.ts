// What goes with every call, so that nothing else need be installed.
export { fromJson, toJson } from "@bufbuild/protobuf";
export { Code, ConnectError } from "@connectrpc/connect";
export { type Client, createClient } from "./client.js";
export { createDashkeeper, createTransport, type Dashkeeper, type DashkeeperOptions } from "./dashkeeper.js";
export { currentEtagOf, reasonOf, type Violation, violationsOf } from "./errors.js";
export type { Token } from "./interceptors.js";
