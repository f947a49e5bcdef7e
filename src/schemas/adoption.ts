import type { Ref } from './common.ts';
import type { Route } from './interface.ts';

/** What a device that is being adopted has in place of netnsd's marks, and what it is known by until it has those. */
export interface ForeignMarks {
  /** The kernel's interface index. */
  index: number;
  /** Null if it has netnsd's group already. */
  group: string | null;
  /** Those of its routes that are to be netnsd's, as long as they have another protocol than netnsd's. */
  routes: { route: Route; protocol: string }[];
}

/** Something that was in the kernel before netnsd knew of it and that a change takes over as it is. */
export interface Adoption extends Ref {
  /** By `Device.key`. */
  devices: Record<string, ForeignMarks>;
  /** Of a namespace: what it is known by. */
  inode: number | null;
}
