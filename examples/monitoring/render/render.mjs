// Usage: node render.mjs PROMETHEUS_URL FOLDER [MINUTES [OPERATOR]]
//
// Writes FOLDER/<dashboard>.png for each ../grafana/*.json: what each query gives in that Prometheus over the last
// MINUTES (15), drawn with @grafana/ui in headless Chromium ($CHROMIUM, else `chromium`). OPERATOR is the choice of
// that variable, all when left out.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

const HERE = import.meta.dirname;
const WIDTH = 1500;
const POINTS = 100;

const [prometheus, folder, minutes = "15", operator = ".*"] = process.argv.slice(2);
if (!prometheus || !folder) {
  console.error("usage: node render.mjs PROMETHEUS_URL FOLDER [MINUTES [OPERATOR]]");
  process.exit(2);
}
const to = Math.floor(Date.now() / 1000);
const from = to - Number(minutes) * 60;
const step = Math.max(1, Math.round((to - from) / POINTS));
// As Grafana does it: at least four scrapes, which the demonstration makes each second.
const rateInterval = Math.max(step + 1, 4);

async function ask(path, parameters) {
  const response = await fetch(`${prometheus}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const answer = await response.json();
  if (answer.status !== "success") throw new Error(`${parameters.query}: ${answer.error}`);
  return answer.data.result ?? answer.data;
}

const known = await ask("series", { "match[]": `noai_requests_total{agent!="none",operator=~"${operator}"}` });
const agents = [...new Set(known.map(({ agent }) => agent))].join("|");

function filledIn(expr) {
  return expr
    .replaceAll("$__rate_interval", `${rateInterval}s`)
    .replaceAll("$__range", `${to - from}s`)
    .replaceAll("$operator", operator)
    .replaceAll("$agent", agents)
    .replace(/\$(job|instance)\b/g, ".*");
}

const range = (expr) => ask("query_range", { query: filledIn(expr), start: from, end: to, step });

async function answers(dashboard) {
  const panels = {};
  for (const panel of dashboard.panels.filter((each) => each.type !== "row")) {
    panels[panel.id] = await Promise.all(
      panel.targets.map(async (target) => ({
        ref: target.refId,
        legend: target.legendFormat,
        format: target.format,
        result: target.range ? await range(target.expr) : await ask("query", { query: filledIn(target.expr), time: to }),
      })),
    );
  }
  const marks = await Promise.all(
    dashboard.annotations.list.map(async (mark) => ({
      colour: mark.iconColor,
      // The first of several neighbouring points: one line for one event.
      times: (await range(mark.expr)).flatMap(({ values }) =>
        values.map(([time]) => time).filter((time, place, all) => place === 0 || time - all[place - 1] > 2 * step),
      ),
    })),
  );
  return { panels, marks };
}

const bundle = await build({
  entryPoints: [join(HERE, "page.jsx")],
  bundle: true,
  write: false,
  outfile: "page.js",
  format: "iife",
  jsx: "automatic",
  minify: true,
  define: { "process.env.NODE_ENV": '"production"', global: "window" },
  loader: { ".svg": "dataurl", ".woff2": "dataurl", ".woff": "dataurl", ".ttf": "dataurl" },
  logLevel: "error",
});
const script = bundle.outputFiles.find((file) => file.path.endsWith(".js")).text;
const style = bundle.outputFiles.find((file) => file.path.endsWith(".css"))?.text ?? "";

const work = mkdtempSync(join(tmpdir(), "noai-render-"));
try {
  for (const name of readdirSync(join(HERE, "..", "grafana")).filter((each) => each.endsWith(".json"))) {
    const dashboard = JSON.parse(readFileSync(join(HERE, "..", "grafana", name), "utf8"));
    const given = { dashboard, from, to, step, ...(await answers(dashboard)) };
    const height = 110 + 38 * Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
    const page = join(work, "page.html");
    const data = JSON.stringify(given).replaceAll("<", "\\u003c");
    writeFileSync(
      page,
      `<!doctype html><meta charset="utf-8"><style>${style}</style><div id="root"></div>` +
        `<script>window.given = ${data}</script><script>${script.replaceAll("</script", "<\\/script")}</script>`,
    );
    const picture = join(folder, name.replace(".json", ".png"));
    execFileSync(process.env.CHROMIUM ?? "chromium", [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
      "--disable-sync", "--no-first-run", "--hide-scrollbars", `--user-data-dir=${join(work, "profile")}`,
      `--window-size=${WIDTH},${height}`, "--virtual-time-budget=10000", `--screenshot=${picture}`, `file://${page}`,
    ], { stdio: ["ignore", "ignore", process.env.VERBOSE ? "inherit" : "ignore"] });
    console.log(picture);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
