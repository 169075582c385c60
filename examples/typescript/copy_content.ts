/**
 * Copy what a registered dashboard shows from one environment to another: FROM_ID's content becomes TO_ID's.
 *
 * Without --write it is only checked. Where the target shows it already, nothing is written.
 */

import { isDeepStrictEqual, parseArgs } from "node:util";
import { ConnectError, createDashkeeper, type Dashkeeper, reasonOf, toJson } from "@dashkeeper/client";
import {
  type DashboardContentWrapperJson,
  DashboardContentWrapperSchema,
} from "@dashkeeper/client/gen/registrations/v1/content_pb";

/** Makes a client of the server that variables with this prefix name. */
function environment(prefix: "FROM" | "TO"): Dashkeeper["registrations"] {
  const [baseUrl, token, projectId] = ["SERVER", "TOKEN", "PROJECT"].map((name) => {
    const value = process.env[`${prefix}_${name}`];
    if (value === undefined) {
      console.error(`the variable ${prefix}_${name} is not set`);
      process.exit(1);
    }
    return value;
  }) as [string, string, string];
  return createDashkeeper({ baseUrl, token, projectId }).registrations;
}

/** Returns a registration's content; undefined before its first one. */
async function current(
  registrations: Dashkeeper["registrations"],
  id: string,
): Promise<DashboardContentWrapperJson | undefined> {
  try {
    return toJson(DashboardContentWrapperSchema, (await registrations.getContent({ id })).contentWrapper);
  } catch (error) {
    if (reasonOf(error) !== "NO_CONTENT") {
      throw error;
    }
    return undefined;
  }
}

/** Copies the content, and returns what came of it. */
async function copy(fromId: string, toId: string, write: boolean): Promise<string> {
  const target = environment("TO");
  const wanted = await current(environment("FROM"), fromId);
  const present = await current(target, toId);
  if (wanted === undefined) {
    throw new Error(`${fromId} has no content yet`);
  }
  if (isDeepStrictEqual(present?.content, wanted.content)) {
    return `${toId} shows it already`;
  }
  const { contentWrapper } = await target.updateContent({
    id: toId,
    content: wanted.content ?? {},
    changeMessage: `copied from ${wanted.id}`,
    validateOnly: !write,
    // Only onto what was read: a content that somebody else made meanwhile stays.
    etag: present?.id ?? "",
    mustBeFirst: present === undefined,
  });
  return write ? `${toId} shows it now, as ${contentWrapper.id}` : `${toId} would be given it`;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { write: { type: "boolean", default: false } },
});
const [fromId = "", toId = ""] = positionals;
try {
  console.log(await copy(fromId, toId, values.write));
} catch (error) {
  console.error(error instanceof ConnectError ? error.message : (error as Error).message);
  process.exitCode = 1;
}
