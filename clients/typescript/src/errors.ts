import { ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** One broken rule of a request. */
export interface Violation {
  /** The path of the field, such as `tiles[3].position.w`. */
  field: string;
  /** What is wrong with it. */
  description: string;
}

/** Return the stable word that says what went wrong, such as `ETAG_MISMATCH`; undefined if the server sent none. */
export function reasonOf(error: unknown): string | undefined {
  return infoOf(error)?.reason;
}

/** Return the rules that the request broke; none if the error is about something else. */
export function violationsOf(error: unknown): Violation[] {
  return ConnectError.from(error)
    .findDetails(BadRequestSchema)
    .flatMap((detail) => detail.fieldViolations)
    .map(({ field, description }) => ({ field, description }));
}

/** Return the etag that the resource has by now, of an error whose reason is `ETAG_MISMATCH`. */
export function currentEtagOf(error: unknown): string | undefined {
  return infoOf(error)?.metadata.current_etag;
}

function infoOf(error: unknown) {
  return ConnectError.from(error)
    .findDetails(ErrorInfoSchema)
    .find((info) => info.domain === "dashkeeper");
}
