// Runs inside kubectl-trace_svc.exe, which krew links to from elsewhere: the program lies beside the file itself.
const { realpathSync } = require('node:fs');
const { createRequire } = require('node:module');

createRequire(realpathSync(process.execPath))('./plugin/kubectl-trace_svc');
