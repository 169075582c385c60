import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

/**
 * Makes a connection that couldn't be made or broke UNAVAILABLE on every transport, which is tried again.
 *
 * `fetch` throws a TypeError for it; Connect's Node transport an error with Node's as the cause, or CANCELED,
 * although nobody cancelled. What the server itself says has no cause. What no further attempt can mend, as far as
 * Node tells it, is FAILED_PRECONDITION; a browser tells a redirect alone.
 */
export const tellsLostConnections: Interceptor = (next) => async (request) => {
  try {
    return await next(request);
  } catch (error) {
    if (isRedirect(error)) {
      throw new ConnectError(`${request.url} is redirected: baseUrl must be Dashkeeper's own`, Code.FailedPrecondition);
    }
    const isLost =
      error instanceof ConnectError
        ? error.cause !== undefined || error.code === Code.Canceled
        : error instanceof TypeError;
    if (!isLost || request.signal.aborted) {
      throw error;
    }
    const permanent = causesOf(error).find(isPermanent);
    if (permanent !== undefined) {
      const what = `no call can be made to ${request.url}: ${permanent.message.trim()}`;
      const hint = "check baseUrl (https:// or http://, the port) and protocol";
      throw new ConnectError(`${what}: ${hint}`, Code.FailedPrecondition, undefined, undefined, error);
    }
    const { rawMessage } = ConnectError.from(error);
    throw new ConnectError(`the connection failed: ${rawMessage}`, Code.Unavailable, undefined, undefined, error);
  }
};

/** `fetch` that answers a redirect, where it would fail as a lost connection does; it never follows one. */
export const fetchWithoutRedirects: typeof fetch = (input, init) => fetch(input, { ...init, redirect: "manual" });

/** Whether the answer was a redirect: Connect's transports name its status, of which a browser makes 0. */
function isRedirect(error: unknown): boolean {
  return error instanceof ConnectError && /^HTTP (0|3\d\d)$/.test(error.rawMessage);
}

/** An error of Node's, which may have these. */
type NodeError = Error & { code?: unknown; errno?: unknown };

const PERMANENT_CODES = /^(ERR_SSL_|ERR_TLS_|EPROTO$|CERT_|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_)/;
const HTTP2_PROTOCOL_ERROR = -505; // NGHTTP2_ERR_PROTO

/** Whether the other side speaks something else: no TLS, no HTTP, another HTTP; or its certificate isn't trusted. */
function isPermanent({ name, message, code, errno }: NodeError): boolean {
  return (
    PERMANENT_CODES.test(String(code)) ||
    name === "HTTPParserError" ||
    errno === HTTP2_PROTOCOL_ERROR ||
    message === "bad port" // one that fetch never connects to
  );
}

/** Returns the error and all its causes. */
function causesOf(error: unknown): NodeError[] {
  return error instanceof Error ? [error, ...causesOf(error.cause)] : [];
}
