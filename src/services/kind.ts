import type { Stored, Ties } from '../db/resources.ts';
import type { Answer, Read } from '../kernel/sessions.ts';
import type { Processes } from '../kernel/processes.ts';
import type { Snapshot } from '../kernel/snapshot.ts';
import type { Adoption } from '../schemas/adoption.ts';
import type { BridgeSpec } from '../schemas/bridge.ts';
import type { Difference, Kind } from '../schemas/common.ts';
import type { LinkSpec } from '../schemas/link.ts';
import type { NamespaceSpec } from '../schemas/namespace.ts';
import type { NatSpec } from '../schemas/nat.ts';
import type { AssignedOf, IntentOf, ObservedOf } from '../schemas/resource.ts';
import type { Draft } from './draft.ts';
import type { Choosing } from './ipam.ts';

interface Specs {
  namespace: NamespaceSpec;
  bridge: BridgeSpec;
  link: LinkSpec;
  nat: NatSpec;
}

/** What a client sends of a kind, its schema checked. */
export type SpecOf<K extends Kind> = Specs[K];

/** What is in the kernel at the place that an intent names, whoever made it. */
export interface Found<K extends Kind> {
  observed: ObservedOf<K>;
  /** What netnsd would have chosen, as it is. */
  assigned: AssignedOf<K>;
  /** Why it is not even a thing of that kind; empty if it is. */
  mismatches: Difference[];
  devices: Adoption['devices'];
  inode: number | null;
}

/** What a change of one kind means. A new kind is one of these, and its line in `kinds.ts`. */
export interface KindService<K extends Kind> {
  /** Fills the defaults in. Throws a problem for what the schema could not say. */
  complete: (spec: SpecOf<K>) => IntentOf<K>;
  /** Throws a problem if the intent can't be beside all that is recorded. `before` is null for a new resource. */
  check: (intent: IntentOf<K>, draft: Draft, before: Stored<K> | null) => void;
  /** What netnsd chooses itself; what it chose before, it keeps. Throws a problem if there is nothing to choose. */
  assign: (intent: IntentOf<K>, before: Stored<K> | null, choosing: Choosing) => AssignedOf<K>;
  /** What it holds and needs; without what was chosen, as far as that can be told. */
  ties: (intent: IntentOf<K>, assigned?: AssignedOf<K>) => Ties;
  /** Whether addresses are left to netnsd, or are given by it. */
  usesIpam?: (intent: IntentOf<K>) => boolean;
  /** What to read, in the processes of a plan, once it is carried out. */
  reads: (intent: IntentOf<K>) => Read[];
  /** What the kernel has after a plan was carried out, and what netnsd learnt by it. */
  result: (
    stored: Stored<K>,
    answers: readonly (Answer | null)[],
    draft: Draft,
  ) => { observed: ObservedOf<K>; assigned: AssignedOf<K> };
  /** What the kernel has now. */
  look: (intent: IntentOf<K>, processes: Processes, assigned: AssignedOf<K>) => Promise<ObservedOf<K>>;
  /** The same, out of a snapshot of all that is recorded. */
  seen: (intent: IntentOf<K>, snapshot: Snapshot, assigned: AssignedOf<K>) => ObservedOf<K>;
  /** Whether the intent still means what it meant when it was recorded; it does, where this is left out. */
  isCurrent?: (stored: Stored<K>) => boolean;
  /** Looks for what there is already to be adopted; left out where that is no use. Null: nothing is there. */
  find?: (intent: IntentOf<K>, processes: Processes) => Promise<Found<K> | null>;
  /** What is chosen of it beside that, as it is adopted; left out if nothing is. */
  adopted?: (intent: IntentOf<K>, assigned: AssignedOf<K>, draft: Draft) => AssignedOf<K>;
  /** Where that differs from what was asked. */
  differences: (stored: Stored<K>, observed: ObservedOf<K>, draft: Draft) => Difference[];
  /** The intent as a client sees it, where that is more than what is recorded. */
  shown?: (intent: IntentOf<K>) => object;
  /** The kind's own part of the public status. */
  status: (intent: IntentOf<K>, observed: ObservedOf<K>, assigned: AssignedOf<K>) => object;
}
