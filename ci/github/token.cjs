require("./python.cjs").run("token_step.py");
