import {
  type DescMessage,
  type DescMethodUnary,
  type DescService,
  fromJsonString,
  type Message,
  type MessageJsonType,
  type MessageShape,
  type MessageValidType,
} from "@bufbuild/protobuf";
import {
  type CallOptions,
  Code,
  ConnectError,
  createClient as createPlainClient,
  type Transport,
} from "@connectrpc/connect";

/** A service's methods: each takes a request as ProtoJSON, checked by its type, and answers a message. */
export type Client<Service extends DescService> = {
  [Name in keyof Service["method"]]: Service["method"][Name] extends DescMethodUnary<infer Input, infer Output>
    ? (request: MessageJsonType<Input>, options?: CallOptions) => Promise<MessageValidType<Output>>
    : never;
};

/**
 * Create a client of a service on a transport, this package's or any other.
 *
 * A method rejects with a ConnectError; a request that isn't the message's ProtoJSON, with the code
 * InvalidArgument and without being sent.
 */
export function createClient<Service extends DescService>(service: Service, transport: Transport): Client<Service> {
  const plain = createPlainClient(service, transport) as Record<string, Method>;
  const methods = service.methods.map(({ localName, input }) => [
    localName,
    async (request: unknown, options?: CallOptions) => await plain[localName]?.(decode(input, request), options),
  ]);
  return Object.fromEntries(methods) as Client<Service>;
}

/** Throws where JSON would make NaN or an infinity null, which is the same as absent: `{ maxDeletions: NaN }`. */
function refuseNonNumbers(name: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new TypeError(`${name} is ${value}: it must be a finite number`);
  }
  return value;
}

type Method = (request: Message, options?: CallOptions) => Promise<Message>;

function decode<Desc extends DescMessage>(schema: Desc, request: unknown): MessageShape<Desc> {
  try {
    // By way of a string: it leaves out what is undefined, as in `{ etag: dashboard?.etag }`.
    return fromJsonString(schema, JSON.stringify(request, refuseNonNumbers));
  } catch (error) {
    throw ConnectError.from(error, Code.InvalidArgument);
  }
}
