"""Where a program's identity token may come from: one module for each source, tried by keybroker.ambient."""
