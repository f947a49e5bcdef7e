import type { Watch } from './watch.ts';

/** What the rest of the program sees of a watch. */
export type KernelWatch = Pick<Watch, 'start' | 'update' | 'state' | 'stop'>;

/** Where drift is not mended, nobody has to be told of it at once. */
export const NO_WATCH: KernelWatch = {
  start: async () => undefined,
  update: () => undefined,
  state: () => ({ events: 'off', firewallEvents: false }),
  stop: async () => undefined,
};
