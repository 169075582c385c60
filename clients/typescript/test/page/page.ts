/** A small editor of one dashboard, on a page of another origin than the server's. */

import { Code, ConnectError, createDashkeeper, currentEtagOf, reasonOf, violationsOf } from "@dashkeeper/client";

const given = new URLSearchParams(location.search);
const { dashboards } = createDashkeeper({
  baseUrl: given.get("server") ?? "",
  token: async () => given.get("token") ?? "",
  projectId: given.get("project") ?? "",
  protocol: given.get("protocol") as "connect" | "grpc-web",
});

const input = (id: string) => (document.getElementById(id) as HTMLInputElement).value;
let opened = { id: "", etag: "" };

function onClick(id: string, act: () => Promise<string>): void {
  document.getElementById(id)?.addEventListener("click", async () => {
    const message = document.getElementById("message");
    if (message === null) return;
    message.textContent = "…";
    try {
      message.textContent = await act();
      message.className = "";
    } catch (error) {
      const violations = violationsOf(error).map(({ field, description }) => `${field}: ${description}`);
      message.textContent = [`${ConnectError.from(error).message} (${reasonOf(error)})`, ...violations].join("\n");
      message.className = "error";
    }
    const { dashboards: found } = await dashboards.list({ orderBy: "name" });
    const items = found.map(({ name, description, tileCount }) => {
      const item = document.createElement("li");
      item.textContent = [name, description, `${tileCount} tiles`].filter(Boolean).join(" · ");
      return item;
    });
    document.getElementById("list")?.replaceChildren(...items);
  });
}

onClick("create", async () => {
  ({ dashboard: opened } = await dashboards.create({ name: input("name") }));
  return `created ${input("name")}`;
});

onClick("fill", async () => {
  const position = { w: Number(input("width")), h: 2 };
  const tile = { type: "TILE_TYPE_MARKDOWN", position, markdown: { content: "# Goals" } } as const;
  const { dashboard, changes } = await dashboards.upsert({ dashboardId: opened.id, tiles: [tile], etag: opened.etag });
  opened = dashboard;
  return `${changes.created.length} tile created`;
});

onClick("rename", async () => {
  const rename = (etag: string) => dashboards.update({ id: opened.id, name: input("name"), etag });
  try {
    ({ dashboard: opened } = await rename(opened.etag));
    return "renamed";
  } catch (error) {
    const etag = currentEtagOf(error);
    if (ConnectError.from(error).code !== Code.Aborted || etag === undefined) throw error;
    // A rename stands beside whatever the other one changed.
    ({ dashboard: opened } = await rename(etag));
    return "somebody else changed it meanwhile: renamed what they made of it";
  }
});
