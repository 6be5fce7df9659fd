/** The program's name and version, in one place. The name is how kubectl users type it. */
import manifest from '../package.json' with { type: 'json' };

export const NAME = 'kubectl trace-svc';
export const VERSION: string = manifest.version;

/** Of everything we write for programs: captures, reports, verdicts. */
export const API_VERSION = 'trace-svc/v1alpha1';
