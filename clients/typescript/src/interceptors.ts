import { clone, type Message } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Interceptor, type UnaryRequest } from "@connectrpc/connect";

/** A JWT, or a function that gets one. */
export type Token = string | (() => string | Promise<string>);

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

type Write = Message & { requestId: string };

/** Gives each write a request id, unless it has one: the server does one id's work once. */
export const setsRequestId: Interceptor = (next) => (request) => {
  if (request.stream || !isWrite(request)) {
    return next(request);
  }
  // A copy: the caller may send the same message again, and mean another write.
  const message = clone(request.method.input, request.message) as Write;
  message.requestId ||= crypto.randomUUID();
  return next({ ...request, message });
};

/**
 * Repeats reads, and writes that have a request id, while the server is UNAVAILABLE, until the deadline.
 *
 * The pauses are random up to a bound that doubles ("full jitter"), so that clients don't return all at once.
 */
export const retries: Interceptor = (next) => async (request) => {
  for (let bound = FIRST_PAUSE_MS; ; bound = Math.min(2 * bound, LONGEST_PAUSE_MS)) {
    try {
      return await next(request);
    } catch (error) {
      if (request.stream || !mayBeRepeated(request) || ConnectError.from(error).code !== Code.Unavailable) {
        throw error;
      }
      await pause(Math.random() * bound, request.signal).catch((reason: unknown) => {
        if (reason instanceof ConnectError) {
          reason.cause ??= error; // the deadline passed: say what it was spent on
        }
        throw reason;
      });
    }
  }
};

/** Names the project, unless the call's own headers name another. */
export function setsProject(projectId: string): Interceptor {
  return (next) => (request) => {
    if (!request.header.has("x-project-id")) {
      request.header.set("x-project-id", projectId);
    }
    return next(request);
  };
}

/** Sends the token; one that a function gave is kept, and asked for again once where the server refuses it. */
export function setsToken(token: Token): Interceptor {
  const get = typeof token === "string" ? () => token : token;
  let current: Promise<string> | undefined;

  function ask(): Promise<string> {
    const asked: Promise<string> = Promise.resolve()
      .then(get)
      .then(checked)
      .then(
        (answer) => {
          current = asked; // though the call that asked gave it up meanwhile
          return answer;
        },
        (error: unknown) => {
          throw ConnectError.from(error, Code.Unauthenticated);
        },
      );
    current = asked;
    return asked;
  }
  function forget(asked: Promise<string>): void {
    // Another call may have got a new one meanwhile.
    if (current === asked) {
      current = undefined;
    }
  }

  return (next) => async (request) => {
    async function bear(asked: Promise<string>): Promise<void> {
      try {
        request.header.set("authorization", `Bearer ${await unlessAborted(asked, request.signal)}`);
      } catch (error) {
        forget(asked); // it may never come: the next call asks anew
        throw error;
      }
    }
    const used = current ?? ask();
    await bear(used);
    try {
      return await next(request);
    } catch (error) {
      if (typeof token === "string" || ConnectError.from(error).code !== Code.Unauthenticated) {
        throw error;
      }
      forget(used);
      await bear(current ?? ask());
      return await next(request);
    }
  };
}

/** Returns the token without white space around it; says nothing of it where it can't be sent. */
function checked(token: unknown): string {
  const trimmed = typeof token === "string" ? token.trim() : "";
  if (!/^[\x21-\x7e]+$/.test(trimmed)) {
    throw new ConnectError("the token must be a JWT: a text of printable ASCII characters", Code.Unauthenticated);
  }
  return trimmed;
}

function isWrite(request: UnaryRequest): boolean {
  return "requestId" in request.method.input.field;
}

function mayBeRepeated(request: UnaryRequest): boolean {
  const isRead = request.method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  return isRead || (isWrite(request) && (request.message as Write).requestId !== "");
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const passed = new Promise<void>((resolve) => (timer = setTimeout(resolve, milliseconds)));
  try {
    await unlessAborted(passed, signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Settles as the promise does, or rejects with the signal's reason, the deadline or the caller's, if that is first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => {};
  const aborted = new Promise<never>((_, reject) => (abort = () => reject(signal.reason)));
  signal.addEventListener("abort", abort);
  if (signal.aborted) {
    abort();
  }
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
