// @octokit/rest, which reads no variable: the program passes them on.

import { Octokit } from "@octokit/rest";

import { version } from "./steps.mjs";

const octokit = new Octokit({ auth: process.env.GITHUB_TOKEN, baseUrl: process.env.GITHUB_API_URL });
const app = { owner: "octo", repo: "app" };

const calls = {
  ref: async () => (await octokit.rest.git.getRef({ ...app, ref: "heads/main" })).data.object.type,
  file: async () => atob((await octokit.rest.repos.getContent({ ...app, path: "docs/a.md" })).data.content),
  branch: async () => (await octokit.rest.repos.getBranch({ ...app, branch: "feature/x" })).data.name,
  label: async () => JSON.stringify((await octokit.rest.issues.removeLabel({ ...app, issue_number: 1, name: "kind: bug" })).data),
  pages: async () => {
    const issues = await octokit.paginate(octokit.rest.issues.listForRepo, { ...app, per_page: 1 });
    return `[${issues.map((issue) => issue.number).join(", ")}]`;
  },
  refused: async () => (await octokit.rest.git.getRef({ ...app, repo: "other", ref: "heads/main" })).data.object.type,
};

console.log(JSON.stringify({ version: version("@octokit/rest") }));
for (const [call, make] of Object.entries(calls)) {
  try {
    console.log(JSON.stringify({ call, said: await make() }));
  } catch (fault) {
    console.log(JSON.stringify({ call, error: `${fault.constructor.name}: ${fault.message}` }));
  }
}
