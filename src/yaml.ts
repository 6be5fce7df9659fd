/** YAML, read and written, by the one package for it. */
export { parse as parseYaml, stringify as stringifyYaml } from 'yaml';
