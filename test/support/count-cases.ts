/**
 * What holds for all property tests. FC_SEED repeats a run; a failure prints its seed.
 * Counts the cases the property tests really ran: with FC_COUNT=FILE every property writes its number there, one a line.
 * A property that fails is reported as always.
 */
import { appendFileSync } from 'node:fs';
import fc from 'fast-check';

const file = process.env.FC_COUNT;

if (process.env.FC_SEED !== undefined)
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.FC_SEED) });

if (file !== undefined)
  fc.configureGlobal({
    ...fc.readConfigureGlobal(),
    reporter(details) {
      appendFileSync(file, `${details.numRuns}\n`);
      if (details.failed) throw new Error(fc.defaultReportMessage(details), { cause: details.errorInstance });
    },
  });
