// Runs a Python file of this folder with the runner's own Python, and ends as it ends.
"use strict";
const { spawnSync } = require("node:child_process");
const path = require("node:path");

exports.run = (file) => {
  // -I: whatever lies in the workspace, or is set for the job's own Python, is none of ours to import.
  const command = process.platform === "win32" ? "python" : "python3";
  const done = spawnSync(command, ["-I", path.join(__dirname, file)], { stdio: "inherit" });
  if (done.error) {
    console.log(`::error title=Keybroker::${command} cannot be run (${done.error.code}); add actions/setup-python before this step`);
  }
  process.exitCode = done.status ?? 1;
};
