/** Builds the program into dist/. */
import { buildProgram } from './program.mjs';

await buildProgram('dist');
