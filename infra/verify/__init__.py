"""`make verify STAGE=…`: the table at the end of docs/deploy.md, row by row, of a stage that is deployed."""
