/** The output formats, apart from the code that writes them: the command line needs only their names. */
export const FORMATS = ['tree', 'wide', 'json', 'yaml', 'markdown', 'mermaid', 'html'] as const;
export type Format = (typeof FORMATS)[number];
