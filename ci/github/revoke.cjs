require("./python.cjs").run("revoke_step.py");
