import type { OperationAction } from '../db/operations.ts';
import type { Stored } from '../db/resources.ts';
import type { Kind } from '../schemas/common.ts';
import type { Draft } from './draft.ts';

/** Who asks, and how the log names the request. */
export interface Caller {
  actor: string;
  requestId: string;
}

/** One change asked for. */
export interface Change {
  action: OperationAction;
  kind: Kind;
  name: string;
  caller: Caller;
  /** Takes over what netnsd has not made: goes alone, so that it can be undone for what it is. */
  adopts?: boolean;
  /**
   * Looks, in the lane and for so long at most, at what has to be known of the kernel before `prepare`, which throws what
   * it fails with.
   */
  survey?: (timeLeftMs: number) => Promise<void>;
  /** How many processes that took. */
  surveyed?: () => number;
  /** Lays the change over the draft, or throws a problem. */
  prepare: (draft: Draft) => void;
  /** Called within the transaction that acknowledges the change, each time that is tried. */
  onCommit?: (done: Done) => void;
}

/** What became of a change. Each has an entry in the journal, by its number. */
export interface Done {
  operation: number | null;
  /** False if all that was asked for was so already. */
  changed: boolean;
  resource: Stored | null;
  /** Whether the resource was there before. */
  existed: boolean;
}

/** What a change would do. */
export interface DryRun {
  commands: string[];
  changes: { action: 'create' | 'adopt' | 'change' | 'delete'; kind: Kind; name: string }[];
}

/** A refused or failed change, with the number of its entry in the journal. */
export class ChangeRefused extends Error {
  override readonly name = 'ChangeRefused';
  readonly operation: number | null;
  readonly problem: unknown;

  constructor(operation: number | null, problem: unknown) {
    super(problem instanceof Error ? problem.message : 'a change was refused', { cause: problem });
    this.operation = operation;
    this.problem = problem;
  }
}
