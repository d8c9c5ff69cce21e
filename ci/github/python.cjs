// Runs a Python file of this folder with the runner's own Python, and exits with its exit code.
"use strict";
const { spawnSync } = require("node:child_process");
const path = require("node:path");

exports.run = (file) => {
  // -I: import nothing from the workspace, and ignore the job's own PYTHON* variables.
  const command = process.platform === "win32" ? "python" : "python3";
  const done = spawnSync(command, ["-I", path.join(__dirname, file)], { stdio: "inherit" });
  if (done.error) {
    console.log(`::error title=Keybroker::${command} cannot be started (${done.error.code}); add actions/setup-python before this step`);
  }
  process.exitCode = done.status ?? 1;
};
