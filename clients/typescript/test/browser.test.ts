/** The client in Chromium, on a page of another origin than the server's, as somebody clicks through it. */

import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { after, test } from "node:test";
import { createDashkeeper } from "@dashkeeper/client";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { HTTP, makeToken, PROJECT, setting } from "./surroundings.ts";

const folder = setting("DASHKEEPER_PAGE_FOLDER");
const here = new URL("page/", import.meta.url).pathname;
await copyFile(`${here}index.html`, `${folder}/index.html`);
await build({ entryPoints: [`${here}page.ts`], outdir: folder, bundle: true, format: "esm", logLevel: "warning" });

const browser = await chromium.launch({
  executablePath: setting("DASHKEEPER_CHROMIUM"),
  args: [
    "--no-sandbox", // as root in a container, as CI often is, it wouldn't start otherwise
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
after(() => browser.close());

for (const protocol of ["connect", "grpc-web"] as const) {
  test(`a dashboard is edited over ${protocol}`, async () => {
    const projectId = `${PROJECT}-${protocol}`;
    const token = makeToken(3_600, projectId);
    const query = new URLSearchParams({ server: HTTP, token, project: projectId, protocol });
    const page = await browser.newPage({ viewport: { width: 700, height: 420 } });
    page.setDefaultTimeout(20_000);
    const problems: Error[] = [];
    page.on("pageerror", (error) => problems.push(error));
    const contentTypes = new Set<string | undefined>();
    page.on("request", (request) => {
      if (request.url().startsWith(HTTP)) {
        contentTypes.add(request.headers()["content-type"]);
      }
    });
    await page.goto(`${setting("DASHKEEPER_PAGE_ORIGIN")}/?${query}`);
    assert.notEqual(new URL(page.url()).origin, HTTP);
    const shows = (text: string | RegExp) => page.getByText(text).waitFor();

    await page.fill("#name", "Growth KPIs");
    await page.click("#create");
    await shows("created Growth KPIs");
    await shows("Growth KPIs · 0 tiles");

    await page.fill("#width", "40");
    await page.click("#fill");
    await shows(/\[invalid_argument\].*\(INVALID_REQUEST\)\ntiles\[0\]\.position\.w: must be/);
    await page.fill("#width", "6");
    await page.click("#fill");
    await shows("1 tile created");
    await shows("Growth KPIs · 1 tiles");

    const { dashboards } = createDashkeeper({ baseUrl: HTTP, token, projectId });
    const { dashboards: found } = await dashboards.list({});
    await dashboards.update({ id: found[0]?.id ?? "", description: "weekly" });
    await page.fill("#name", "Growth");
    await page.click("#rename");
    await shows("somebody else changed it meanwhile");
    await shows("Growth · weekly · 1 tiles");
    await page.screenshot({ path: `${setting("DASHKEEPER_SCREENSHOTS")}/typescript-${protocol}.png` });

    assert.deepEqual(problems, []);
    // A preflight, which has none, isn't shown to the page.
    assert.deepEqual([...contentTypes], [protocol === "connect" ? "application/json" : "application/grpc-web+proto"]);
    await page.close();
  });
}
