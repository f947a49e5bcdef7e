import { HOST } from '../schemas/common.ts';
import { namespacePath } from './marks.ts';

export type CommandLine = [file: string, args: string[]];

/** What is to be started for a tool to run in a namespace: itself, or nsenter(1), which becomes it. */
export function commandInside(
  namespace: string,
  [file, ...args]: readonly [string, ...string[]],
): CommandLine {
  if (namespace === HOST) return [file, args];
  return ['nsenter', [`--net=${namespacePath(namespace)}`, '--', file, ...args]];
}
