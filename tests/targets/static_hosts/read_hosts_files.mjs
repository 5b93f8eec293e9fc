// What Netlify's and Vercel's own code makes of their files: argv is _headers, vercel.json, paths; JSON comes out.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , packages, headersFile, vercelFile, ...paths] = process.argv;
const require = createRequire(pathToFileURL(`${packages}/package.json`));
const { parseAllHeaders } = await import(pathToFileURL(require.resolve("@netlify/headers-parser")));
const { getTransformedRoutes } = require("@vercel/routing-utils");

const netlify = await parseAllHeaders({ headersFiles: [headersFile], minimal: false, configHeaders: [] });
const vercel = getTransformedRoutes(JSON.parse(readFileSync(vercelFile, "utf8")));
const together = (path, rules) => [path, Object.assign({}, ...rules)];
console.log(JSON.stringify({
  problems: [...netlify.errors.map(String), ...(vercel.error ? [vercel.error] : [])],
  netlify: Object.fromEntries(paths.map((path) => together(path, netlify.headers.filter((rule) => rule.forRegExp.test(path)).map((rule) => rule.values)))),
  vercel: Object.fromEntries(paths.map((path) => together(path, vercel.routes.filter((route) => route.headers && new RegExp(route.src).test(path)).map((route) => route.headers)))),
}));
